"""The four patch formats of the API: JSON patch, merge patch, strategic merge patch, server-side apply."""
