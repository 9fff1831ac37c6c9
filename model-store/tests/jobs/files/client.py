import json
from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")
print(json.dumps(client.models.list().model_dump()))
