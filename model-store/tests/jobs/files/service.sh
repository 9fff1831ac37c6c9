#!/bin/bash
python3 -m sglang.launch_server --model-path "$1" --port "$2" --tp-size "$3"
