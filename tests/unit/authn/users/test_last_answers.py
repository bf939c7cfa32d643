"""What a directory server said a moment ago stands in for it while it is away, and no longer."""

from __future__ import annotations

import pytest

from compat_auth.authn.users.last_answers import LastAnswers
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable, NoSuchUser
from compat_auth.identity import Identity
from compat_auth.personal_tokens.owners import TokenOwners
from support.stand_ins import Clock

ZOE = DirectoryUser("zoë", roles=("Op",))


class Server:
    """A directory that can be away."""

    name = "server"
    is_server = True

    def __init__(self) -> None:
        self.users: dict[str, DirectoryUser] = {"zoë": ZOE}
        self.is_away = False

    def find(self, username: str) -> DirectoryUser | None:
        if self.is_away:
            raise BackendUnavailable("away")
        return self.users.get(username)


class File(Server):
    """One that is a file here."""

    is_server = False


def test_while_the_server_is_away_its_last_answer_counts_for_the_time_that_is_set() -> None:
    server, answers = Server(), LastAnswers(60, monotonic=(clock := Clock()))
    answers.find(server, "zoë")
    server.is_away = True

    clock.time += 59.9
    meanwhile = answers.find(server, "zoë")
    clock.time += 0.1

    assert meanwhile == ZOE
    with pytest.raises(BackendUnavailable):
        answers.find(server, "zoë")


def test_what_the_server_says_now_counts_and_replaces_what_it_said() -> None:
    server, answers = Server(), LastAnswers(60, monotonic=Clock())
    answers.find(server, "zoë")
    server.users["zoë"] = disabled = DirectoryUser("zoë", active=False)

    now = answers.find(server, "zoë")
    server.is_away = True

    assert now == answers.find(server, "zoë") == disabled


def test_whom_the_server_did_not_know_it_still_does_not_know() -> None:
    server, answers = Server(), LastAnswers(60, monotonic=Clock())
    answers.find(server, "eva")
    server.is_away = True

    assert answers.find(server, "eva") is None


@pytest.mark.parametrize(("directory", "believed_s"), [(Server(), 0), (File(), 60)], ids=["switched-off", "file"])
def test_nothing_is_remembered_of_a_file_or_where_passwords_are_not(directory: Server, believed_s: float) -> None:
    answers = LastAnswers(believed_s, monotonic=Clock())
    answers.find(directory, "zoë")
    directory.is_away = True

    with pytest.raises(BackendUnavailable):
        answers.find(directory, "zoë")


def test_nobody_whom_the_server_was_not_asked_about_comes_in_while_it_is_away() -> None:
    lookup = UserLookup((server := Server(),), last_answers=LastAnswers(60))
    lookup.complete(Identity("zoë", "kerberos"))
    server.is_away = True

    assert lookup.complete(Identity("zoë", "kerberos")).roles == ("Op",)
    with pytest.raises(BackendUnavailable):
        lookup.complete(Identity("eva", "kerberos"))


def test_the_owner_of_a_token_is_remembered_as_the_user_of_a_ticket_is() -> None:
    owners = TokenOwners(UserLookup((server := Server(),), last_answers=LastAnswers(60)))
    owners.find("zoë")
    with pytest.raises(NoSuchUser):
        owners.find("eva")
    server.is_away = True

    found = owners.find("zoë")

    assert (found.username, found.directory) == ("zoë", "server")
