"""The provider's stop list: the numbers of people who opted out at the provider."""
