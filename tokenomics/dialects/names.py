"""The keys that answers have in the dialects: names of an API's, which say nothing themselves.

Whole answers and events of streams, of OpenAI, Anthropic and those who add to their formats (Azure,
OpenRouter, Groq, DeepSeek). A key that is not here is looked at as a text, wherever it comes from.
"""

from __future__ import annotations

# Around the answer, in all of them.
_AROUND = """id object type model created created_at completed_at status service_tier
system_fingerprint provider usage error code message param status_code request_id x_groq timings
metadata data index event sequence_number delta"""
# Chat, completions. https://platform.openai.com/docs/api-reference/chat/object
_CHAT = """choices role content refusal name tool_calls tool_call_id function arguments
function_call custom annotations url_citation audio transcript format expires_at finish_reason
native_finish_reason stop_reason matched_stop logprobs token tokens token_logprobs top_logprobs
text_offset bytes logprob reasoning reasoning_content reasoning_details reasoning_text
prompt_filter_results content_filter_results content_filter_result content_filter_offsets
prompt_index obfuscation images image_url file file_data filename"""
# Responses. https://platform.openai.com/docs/api-reference/responses/object
_RESPONSES = """response item item_id output output_text output_index content_index summary
summary_index annotation annotation_index part phase incomplete_details reason instructions input
max_output_tokens max_tool_calls parallel_tool_calls previous_response_id conversation prompt
prompt_cache_key prompt_cache_retention prompt_cache_options safety_identifier store temperature
top_p truncation user tools tool_choice background context_management moderation effort verbosity
call_id action queries query results result sources outputs logs files container_id environment
commands command working_directory timeout_ms exit_code outcome stdout stderr max_output_length
pending_safety_checks acknowledged_safety_checks server_label approval_request_id approve score
file_id attributes env partial_image_b64 partial_image_index size quality output_format
revised_prompt encrypted_content input_audio input_schema operation path diff pattern button
keys scroll_x scroll_y x y start_index end_index created_by strict description parameters"""
# Messages. https://docs.anthropic.com/en/api/messages
_MESSAGES = """content_block partial_json thinking signature citations citation cited_text
document_index document_title source title start_char_index end_char_index start_page_number
end_page_number start_block_index end_block_index search_result_index encrypted_index tool_use_id
is_error page_age retrieved_at error_code return_code stop_sequence stop_details container
media_type caller tool_name tool_references server_name"""
# Pictures, sound, vectors, moderation, rerank. `document` holds what the client sent.
_OTHERS = """b64_json url background partial_images embedding flagged categories category_scores
category_applied_input_types text language duration segments words word speaker start end seek
avg_logprob no_speech_prob compression_ratio relevance_score document meta billed_units api_version
warnings segment_id detail file_url"""
ANSWER_KEYS = frozenset(" ".join((_AROUND, _CHAT, _RESPONSES, _MESSAGES, _OTHERS)).split())
# Below these are names of what was counted or judged: `violence`, `jailbreak`.
COUNTED = (
    *("usage", "timings", "categories", "category_scores", "category_applied_input_types"),
    *("prompt_filter_results", "content_filter_results", "content_filter_result"),
)
# Below these are objects with any keys: a tool's input, what a client stored or sent.
FREE = ("input", "attributes", "env", "document")
