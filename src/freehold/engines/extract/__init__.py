"""The tagger as it is served: words tagged by an ONNX graph, decoded into an answer as the log writes it."""
