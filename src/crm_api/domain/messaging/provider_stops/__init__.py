"""The provider's stop list: numbers that it refuses, because people opted out at the provider."""
