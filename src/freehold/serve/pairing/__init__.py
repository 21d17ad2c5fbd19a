"""The student's answer beside the upstream's: asked, judged, kept, watched."""
