"""What the pages show, computed from records and frames. Nothing here needs Streamlit."""
