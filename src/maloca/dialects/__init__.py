"""What clients speak. Each dialect turns its wire format into core requests and events back."""
