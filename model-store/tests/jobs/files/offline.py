from vllm import LLM, SamplingParams

TP = 4
llm = LLM(
    model="meta-llama/Llama-3.1-8B-Instruct",
    tensor_parallel_size=TP,
)
print(llm.generate("hi", SamplingParams(max_tokens=8)))
