"""LaunchDarkly as a Downhaul provider: flags evaluated by LaunchDarkly's own SDK."""
