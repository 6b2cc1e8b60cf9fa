"""The WhisperX server: transcription, speakers and both together over HTTP.

The same app is the embedded engine of `make up` and the program of the container. Importing this
package loads no model library: those are imported by the threads that load the models.
"""
