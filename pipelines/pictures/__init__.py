"""Pictures: what their headers say, and their pixels. The only place for Pillow."""
