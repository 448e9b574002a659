"""The pack's nodes. The only Python here that knows ComfyUI; `extension` is what it loads."""
