"""People, sessions, invitations, tokens and wrong passwords: a part of `fleet_contract`."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from backapp_core.errors import (
    IllegalTransition,
    InvalidName,
    NameTaken,
    StoreUnavailable,
    TokenRefused,
    UserNotFound,
)
from backapp_core.model.users import ApiToken, Invitation, Member, Role, Session
from backapp_core.ports.fleet import Fleet, Login
from backapp_core.ports.tenants import TenantStore
from backapp_core.testing.fleet_fixtures import (
    LONG,
    OURS,
    SHORT,
    hash_of,
    make_user,
    outcome_of,
    pass_time,
)
from backapp_core.testing.store_fixtures import AT, HOSTILE

HOUR = timedelta(hours=1)


class WithFleet:
    """Fixtures of everything below."""

    @pytest.fixture
    def fleet(self) -> Fleet:
        """An empty store of a server."""
        raise NotImplementedError

    @pytest.fixture
    def ours(self, fleet: Fleet) -> TenantStore:
        """What the first tenant owns."""
        return fleet.tenant(OURS)


class TenantsContract(WithFleet):
    """Owners of things."""

    def test_new_store_has_one_tenant(self, fleet: Fleet, ours: TenantStore) -> None:
        assert [tenant.id for tenant in fleet.tenants()] == [OURS]
        assert ours.tenant == fleet.tenants()[0]

    def test_tenants_are_added_under_names_of_their_own(self, fleet: Fleet) -> None:
        """Also by several at once."""
        with ThreadPoolExecutor(4) as threads:
            added = list(threads.map(fleet.add_tenant, "abcd"))
        assert sorted(tenant.id for tenant in added) == [2, 3, 4, 5]
        with pytest.raises(NameTaken, match="'a'"):
            fleet.add_tenant("a")
        assert len(fleet.tenants()) == 5
        assert fleet.tenant(added[0].id).tenant == added[0]

    def test_what_is_no_tenant_is_refused(self, fleet: Fleet) -> None:
        for name in ("", "a" * 65, "a\nb", "\udcff"):
            with pytest.raises(InvalidName):
                fleet.add_tenant(name)
        with pytest.raises(StoreUnavailable):
            fleet.tenant(2)
        assert len(fleet.tenants()) == 1

    def test_time_does_not_stand_still(self, fleet: Fleet) -> None:
        before = fleet.now()
        pass_time(fleet, before)
        assert fleet.now() > before
        assert before.utcoffset() == timedelta(0)


class UsersContract(WithFleet):
    """Accounts."""

    def test_account_can_be_logged_in_to(self, fleet: Fleet, ours: TenantStore) -> None:
        """The address is compared without regard to case and blanks."""
        assert not fleet.has_users()
        assert fleet.register(OURS, make_user(), "hash") == Member(make_user(), OURS)
        assert fleet.has_users()
        login = fleet.login(" User1@Example.org ")
        assert login is not None
        assert (login.member, login.password_hash) == (Member(make_user(), OURS), "hash")
        assert ours.users.get(make_user().id) == make_user()

    def test_address_has_one_account_in_all_tenants(self, fleet: Fleet) -> None:
        fleet.register(OURS, make_user(), "hash")
        other = fleet.add_tenant("other")
        with pytest.raises(NameTaken, match=r"user1@example\.org"):
            fleet.register(other.id, make_user(2, email="User1@example.org"), "hash")
        assert not fleet.tenant(other.id).users.list()

    def test_nobody_logs_in_with_what_is_no_address(self, fleet: Fleet) -> None:
        fleet.register(OURS, make_user(), "hash")
        assert [fleet.login(word) for word in HOSTILE] == [None] * len(HOSTILE)
        with pytest.raises(InvalidName):
            fleet.register(OURS, make_user(2, email="nobody"), "hash")

    def test_users_are_listed_by_address(self, fleet: Fleet, ours: TenantStore) -> None:
        for number in (3, 1, 2):
            fleet.register(OURS, make_user(number), "hash")
        assert list(ours.users.list()) == [make_user(number) for number in (1, 2, 3)]

    def test_user_is_replaced(self, fleet: Fleet, ours: TenantStore) -> None:
        for number in (1, 2):
            fleet.register(OURS, make_user(number), "hash")
        changed = make_user(2, email="new@example.org", role=Role.VIEWER, name="n\udcff")
        ours.users.replace(changed)
        assert ours.users.get(changed.id) == changed
        login = fleet.login("new@example.org")
        assert login is not None
        assert (login.member.user, login.password_hash) == (changed, "hash")
        with pytest.raises(NameTaken):
            ours.users.replace(evolve(changed, email=make_user(1).email))
        assert ours.users.get(changed.id) == changed

    def test_user_who_is_switched_off_is_out(self, fleet: Fleet, ours: TenantStore) -> None:
        """Sessions and tokens as well; tokens work again when the user does."""
        fleet.register(OURS, make_user(1), "hash")
        user = make_user(2)
        fleet.register(OURS, user, "hash")
        fleet.open_session(hash_of("session"), make_session(fleet, user.id))
        ours.users.add_api_token(make_token(user.id), hash_of("token"))
        ours.users.replace(evolve(user, is_enabled=False))
        assert fleet.login(user.email) is None
        assert fleet.session(hash_of("session"), idle_seconds=LONG) is None
        assert fleet.api_token(hash_of("token")) is None
        ours.users.replace(user)
        assert fleet.session(hash_of("session"), idle_seconds=LONG) is None
        assert fleet.api_token(hash_of("token")) is not None

    @pytest.mark.parametrize("fields", [{"role": Role.VIEWER}, {"is_enabled": False}])
    def test_somebody_stays_who_may_administer(
        self, fleet: Fleet, ours: TenantStore, fields: dict[str, Any]
    ) -> None:
        """Also when two administrators switch each other off at once."""
        users = [make_user(number) for number in (1, 2)]
        for user in users:
            fleet.register(OURS, user, "hash")
        changed = [evolve(user, **fields) for user in users]
        with ThreadPoolExecutor(2) as threads:
            calls = [threads.submit(outcome_of, ours.users.replace, user) for user in changed]
        assert {call.result() for call in calls} == {None, IllegalTransition}
        assert sum(user in ours.users.list() for user in users) == 1

    def test_new_password_ends_all_other_sessions(self, fleet: Fleet, ours: TenantStore) -> None:
        user = make_user()
        fleet.register(OURS, user, "old")
        for token in ("kept", "ended"):
            fleet.open_session(hash_of(token), make_session(fleet, user.id))
        ours.users.set_password(user.id, "new", keep_session=hash_of("kept"))
        assert fleet.login(user.email) == Login(Member(user, OURS), "new")
        assert fleet.session(hash_of("kept"), idle_seconds=LONG) is not None
        assert fleet.session(hash_of("ended"), idle_seconds=LONG) is None

    def test_unknown_users_are_not_found(self, fleet: Fleet, ours: TenantStore) -> None:
        fleet.register(OURS, make_user(), "hash")
        for word in [*HOSTILE, "f" * 32, make_user().id.upper() + "A"]:
            assert outcome_of(ours.users.get, word) is UserNotFound
            assert outcome_of(ours.users.set_password, word, "x") is UserNotFound
            assert outcome_of(ours.users.replace, make_user(id=word)) is UserNotFound
            add = ours.users.add_api_token
            assert outcome_of(add, make_token(word), hash_of("token")) is UserNotFound
            assert list(ours.users.api_tokens(word)) == []
            ours.users.remove_api_token(word, word)


class SessionsContract(WithFleet):
    """Who is signed in."""

    def test_session_is_found_with_its_user(self, fleet: Fleet) -> None:
        fleet.register(OURS, make_user(), "hash")
        session = make_session(fleet, make_user().id)
        fleet.open_session(hash_of("session"), session)
        assert fleet.session(hash_of("session"), idle_seconds=LONG) == (session, make_user())
        assert fleet.session(hash_of("other"), idle_seconds=LONG) is None
        fleet.close_session(hash_of("session"))
        fleet.close_session(hash_of("session"))
        assert fleet.session(hash_of("session"), idle_seconds=LONG) is None

    def test_session_ends_at_its_time(self, fleet: Fleet) -> None:
        fleet.register(OURS, make_user(), "hash")
        ends_at = fleet.now() + timedelta(seconds=SHORT)
        fleet.open_session(
            hash_of("session"), make_session(fleet, make_user().id, expires_at=ends_at)
        )
        pass_time(fleet, ends_at)
        assert fleet.session(hash_of("session"), idle_seconds=LONG) is None

    def test_session_that_is_not_used_ends(self, fleet: Fleet) -> None:
        fleet.register(OURS, make_user(), "hash")
        session = make_session(fleet, make_user().id)
        fleet.open_session(hash_of("session"), session)
        pass_time(fleet, session.last_used_at + timedelta(seconds=SHORT))
        assert fleet.session(hash_of("session"), idle_seconds=SHORT) is None

    def test_use_is_noted_once_in_a_while(self, fleet: Fleet) -> None:
        """And not with every page that is looked at."""
        fleet.register(OURS, make_user(), "hash")
        for age_seconds, is_noted in ((0, False), (100, True)):
            used_at = fleet.now() - timedelta(seconds=age_seconds)
            session = make_session(fleet, make_user().id, last_used_at=used_at)
            token_hash = hash_of(f"session {age_seconds}")
            fleet.open_session(token_hash, session)
            fleet.session(token_hash, idle_seconds=LONG)
            found = fleet.session(token_hash, idle_seconds=LONG)
            assert found is not None
            assert (found[0].last_used_at > used_at) == is_noted


class InvitationsContract(WithFleet):
    """How people come in."""

    def test_invitation_makes_one_account_with_its_role(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """Also when several use it at once."""
        invitation = make_invitation(fleet)
        ours.users.invite(invitation, hash_of("link"))
        assert fleet.invitation(hash_of("link")) == invitation
        assert list(ours.users.invitations()) == [invitation]
        users = [make_user(number) for number in range(4)]
        with ThreadPoolExecutor(4) as threads:
            calls = [
                threads.submit(outcome_of, fleet.join, hash_of("link"), user, "hash")
                for user in users
            ]
        joined = [call.result() for call in calls if call.result() is not TokenRefused]
        assert joined == [Member(user, OURS) for user in ours.users.list()]
        assert [user.role for user in ours.users.list()] == [Role.VIEWER]
        assert list(ours.users.invitations()) == []
        used = fleet.invitation(hash_of("link"))
        assert used is not None
        assert used.used_at is not None

    def test_refused_invitation_says_why(self, fleet: Fleet, ours: TenantStore) -> None:
        ours.users.invite(make_invitation(fleet, 1), hash_of("used"))
        fleet.join(hash_of("used"), make_user(1), "hash")
        soon = fleet.now() + timedelta(seconds=SHORT)
        ours.users.invite(make_invitation(fleet, 2, expires_at=soon), hash_of("expired"))
        ours.users.invite(make_invitation(fleet, 3, email="a@example.org"), hash_of("for another"))
        pass_time(fleet, soon)
        said = {"used": "used", "expired": "expired", "unknown": "unknown", "for another": "only"}
        for token, words in said.items():
            with pytest.raises(TokenRefused, match=words):
                fleet.join(hash_of(token), make_user(2), "hash")
        assert [user.id for user in ours.users.list()] == [make_user(1).id]
        assert [one.id for one in ours.users.invitations()] == [f"{3:032x}"]
        joined = fleet.join(hash_of("for another"), make_user(2, email="A@example.org"), "hash")
        assert joined.user.email == "a@example.org"

    def test_invitation_survives_an_address_that_is_taken(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        fleet.register(OURS, make_user(1), "hash")
        ours.users.invite(make_invitation(fleet), hash_of("link"))
        with pytest.raises(NameTaken):
            fleet.join(hash_of("link"), make_user(2, email=make_user(1).email), "hash")
        assert fleet.join(hash_of("link"), make_user(2), "hash").user.id == make_user(2).id
        with pytest.raises(NameTaken):
            ours.users.invite(make_invitation(fleet, 2, email=make_user(1).email), hash_of("x"))

    def test_newest_invitation_comes_first(self, fleet: Fleet, ours: TenantStore) -> None:
        for number in (2, 1, 3):
            at = AT + timedelta(seconds=number)
            ours.users.invite(make_invitation(fleet, number, created_at=at), hash_of(str(number)))
        assert [int(one.id, 16) for one in ours.users.invitations()] == [3, 2, 1]


class TokensContract(WithFleet):
    """What programs show."""

    def test_token_stands_for_its_user(self, fleet: Fleet, ours: TenantStore) -> None:
        fleet.register(OURS, make_user(), "hash")
        ours.users.add_api_token(make_token(make_user().id), hash_of("token"))
        found = fleet.api_token(hash_of("token"))
        assert found is not None
        assert found[0].name == "ci \udcff"
        assert found[1] == Member(make_user(), OURS)
        [listed] = ours.users.api_tokens(make_user().id)
        assert listed.last_used_at is not None
        ours.users.remove_api_token(make_user().id, listed.id)
        ours.users.remove_api_token(make_user().id, listed.id)
        assert fleet.api_token(hash_of("token")) is None

    def test_expired_token_stands_for_nobody(self, fleet: Fleet, ours: TenantStore) -> None:
        fleet.register(OURS, make_user(), "hash")
        soon = fleet.now() + timedelta(seconds=SHORT)
        ours.users.add_api_token(make_token(make_user().id, expires_at=soon), hash_of("token"))
        pass_time(fleet, soon)
        assert fleet.api_token(hash_of("token")) is None
        assert fleet.api_token(hash_of("other")) is None

    def test_newest_token_comes_first(self, fleet: Fleet, ours: TenantStore) -> None:
        fleet.register(OURS, make_user(), "hash")
        tokens = [
            make_token(make_user().id, id=f"{n:032x}", created_at=AT + timedelta(seconds=n))
            for n in range(3)
        ]
        for token in tokens:
            ours.users.add_api_token(token, hash_of(token.id))
        assert list(ours.users.api_tokens(make_user().id)) == tokens[::-1]


class FailuresContract(WithFleet):
    """Wrong passwords."""

    def test_wrong_passwords_are_counted_by_key(self, fleet: Fleet) -> None:
        """Whatever the key is made of."""
        for word in HOSTILE:
            assert fleet.failures(word, window_seconds=LONG) == 0
            assert fleet.note_failure(word, window_seconds=LONG) == 1
            assert fleet.note_failure(word, window_seconds=LONG) == 2
        fleet.forget_failures(HOSTILE[0])
        counts = [fleet.failures(word, window_seconds=LONG) for word in HOSTILE]
        assert counts == [0, *[2] * (len(HOSTILE) - 1)]

    def test_wrong_passwords_of_earlier_do_not_count(self, fleet: Fleet) -> None:
        fleet.note_failure("a", window_seconds=LONG)
        pass_time(fleet, fleet.now() + timedelta(seconds=SHORT))
        assert fleet.failures("a", window_seconds=SHORT) == 0
        assert fleet.failures("a", window_seconds=LONG) == 1

    def test_wrong_passwords_at_once_are_all_counted(self, fleet: Fleet) -> None:
        """And each of them is told another number."""
        at_once = threading.Barrier(4)

        def guess(_: int) -> list[int]:
            at_once.wait()
            return [fleet.note_failure("a", window_seconds=LONG) for _ in range(5)]

        with ThreadPoolExecutor(4) as threads:
            told = [number for some in threads.map(guess, range(4)) for number in some]
        assert sorted(told) == list(range(1, 21))
        assert fleet.failures("a", window_seconds=LONG) == 20


def make_session(fleet: Fleet, user_id: str, **fields: Any) -> Session:
    """Return a session that began just now."""
    now = fleet.now()
    session = Session(user_id, OURS, created_at=now, last_used_at=now, expires_at=now + HOUR)
    return evolve(session, **fields)


def make_token(user_id: str, **fields: Any) -> ApiToken:
    """Return a token that does not expire."""
    token = ApiToken("7" * 32, user_id, "ci \udcff", AT)
    return evolve(token, **fields)


def make_invitation(fleet: Fleet, number: int = 1, **fields: Any) -> Invitation:
    """Return an invitation for an hour, for whoever holds it."""
    now = fleet.now()
    invitation = Invitation(f"{number:032x}", Role.VIEWER, now, now + HOUR)
    return evolve(invitation, **fields)
