"""The Parakeet server: speech to text over OpenAI's API, by NeMo.

In the container it lies in /opt/parakeet/app, which is on the path as well, so that `main:app` is
the server's application. Importing it loads no model library: the thread that loads the model does.
"""
