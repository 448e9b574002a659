"""`wanattn bench workflow`: the user's own workflow on a running ComfyUI server."""
