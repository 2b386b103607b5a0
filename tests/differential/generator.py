"""A random PKI for a seed: always the same one for the same seed."""

import base64
from dataclasses import dataclass
from random import Random

from cryptography.hazmat.primitives.asymmetric import ec

from ..corpus.authority import Authority, draft_authority, draft_leaf, self_signed
from ..corpus.keys import Signer, ec_key, pkcs8, rsa_key, spki_of
from .drafts import without
from .faults import FAULTS, Node, Plan
from .more_faults import LAST_FAULTS, MORE_FAULTS
from .roots import root, titles, twin

HOSTNAME = "www.example.com"

# Copies of certificates are made last: nothing may change after that.
_ALL_FAULTS = MORE_FAULTS | FAULTS | LAST_FAULTS


@dataclass(frozen=True)
class Pki:
    """A customer's upload, and the root that a client trusts.

    `sent` are DER certificates, the leaf first unless shuffled; `trusted` is the root that the
    chain should lead to; `is_public`: the service trusts that root by itself.
    """

    seed: int
    faults: tuple[str, ...]
    leaf: bytes
    sent: tuple[bytes, ...]
    private_key: bytes
    trusted: bytes
    is_public: bool

    @property
    def body(self) -> str:
        return "".join(map(pem, self.sent))

    def __str__(self) -> str:
        return f"seed {self.seed} ({', '.join(self.faults) or 'no fault'})"


def make(seed: int) -> Pki:
    """The PKI of `seed`: a third have one fault, half have two, some have none or three."""
    random = Random(seed)
    faults = random.sample(list(_ALL_FAULTS), random.choices((0, 1, 2, 3), (1, 8, 10, 2))[0])
    kind = random.choices(("public", "private", "self_signed"), (14, 4, 1))[0]
    plan = _plan(random, kind)
    if kind == "self_signed":
        _sign_itself(plan.leaf)
    for fault in sorted(faults, key=list(_ALL_FAULTS).index):
        _ALL_FAULTS[fault](plan)
    leaf = plan.leaf.der()
    sent = [node.der() for at, node in enumerate(plan.nodes) if at not in plan.left_out]
    at = random.choice((1, len(sent)))
    sent[at:at] = plan.sent_along
    if kind == "private":
        sent.append(plan.root.certificate)
    if plan.shuffled:
        random.shuffle(sent)
    return Pki(
        seed,
        tuple(faults),
        leaf,
        tuple(sent),
        pkcs8(plan.leaf.key),
        leaf if kind == "self_signed" else plan.root.certificate,
        kind == "public",
    )


def _sign_itself(node: Node) -> None:
    node.signs_itself = True
    node.draft = without(node.draft.but(issuer=node.draft.subject), "2.5.29.35")


def pem(der: bytes) -> str:
    """A certificate in PEM."""
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"


def _plan(random: Random, kind: str) -> Plan:
    authority = _root(random, kind)
    count = 0 if kind == "self_signed" else random.choices((0, 1, 2, 3), (1, 8, 4, 1))[0]
    nodes: list[Node] = []
    issuer = authority
    for number in range(count):
        key = ec_key(f"intermediate {number}")
        draft = draft_authority(f"Issuing {number}", key, issuer)
        nodes.insert(0, Node(draft, key, issuer.key))
        issuer = Authority(f"Issuing {number}", key)
    leaf_key: Signer = ec_key("leaf") if random.random() < 0.7 else rsa_key("2048")
    draft = draft_leaf(HOSTNAME, by=issuer, spki=spki_of(leaf_key))
    nodes.insert(0, Node(draft, leaf_key, issuer.key))
    return Plan(random, nodes, authority)


def _root(random: Random, kind: str) -> Authority:
    if kind != "public":
        return self_signed("Own Root", ec_key("Own Root", ec.SECP384R1()))
    if random.random() < 0.6:
        return root(titles()[0])
    return random.choice([*map(root, titles()), twin()])
