"""One class a wire protocol: build the request, read the reply. Knows nothing of Beam."""

from tutelage.pipelines.teachers.anthropic_messages import AnthropicMessages
from tutelage.pipelines.teachers.openai_chat import OpenAIChat
from tutelage.pipelines.teachers.openai_completions import OpenAICompletions
from tutelage.pipelines.teachers.protocol import TeacherProtocol

PROTOCOLS: dict[str, TeacherProtocol] = {
    protocol.name: protocol for protocol in (OpenAIChat(), OpenAICompletions(), AnthropicMessages())
}
"""By the name that a config's `protocol` gives."""
