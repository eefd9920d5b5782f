"""A machine joins a server."""

from backapp_core.plugin_api import Surroundings
from backapp_core.wire import ENROL, EnrolBody, Enrolled
from backapp_plugins.stores.remote.conversation import Conversation
from backapp_plugins.stores.remote.servers import parse_server


def join(url: str, token: str, agent_id: str, key: str, surroundings: Surroundings) -> Enrolled:
    """Use an enrolment token up; again with the same three it gives the same answer.

    Raises:
        InvalidAddress: If the URL makes no sense.
        TokenRefused: If the token is unknown, used or expired; says which.
        NameTaken: If a machine of that name joined meanwhile.
        StoreUnavailable: If the server does not answer.
    """
    conversation = Conversation(parse_server(url), "", surroundings)
    try:
        return conversation.ask("POST", ENROL, Enrolled, body=EnrolBody(token, agent_id, key))
    finally:
        conversation.close()
