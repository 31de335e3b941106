"""The entry script and its theme. They are not next to pages/, which Streamlit would then serve by itself."""
