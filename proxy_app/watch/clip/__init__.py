"""The recording that services are probed with; README.md says how it was made."""

from pathlib import Path

CLIP = Path(__file__).with_name("clip.wav")
SPOKEN = "Good morning. The weather is very nice today. Thank you very much for your help."
