"""Whether the numbers of an RSA private key belong together."""

from .formats import RsaNumbers


def fault(key: RsaNumbers) -> str | None:
    """What is wrong with `key` (RFC 8017, 3.2), None where nothing is.

    All but the primality of p and q, which would take milliseconds: where one of them is no
    prime, no signature made with the key verifies.
    """
    if min(key.n, key.d, key.p, key.q, key.d_p, key.d_q, key.q_inverse) < 1 or key.e < 1:
        return "one of its numbers is not positive"
    # Sizes first: these may be numbers of megabits.
    if not (3 <= key.p < key.n and 3 <= key.q < key.n) or key.p * key.q != key.n:
        return "its modulus is not the product of its primes"
    if not key.p & key.q & 1:
        return "one of its primes is even"
    if key.p == key.q:
        return "its primes are equal"
    if key.d >= key.n:
        return "its private exponent is too large"
    # Together the same as e·d ≡ 1 modulo lcm(p - 1, q - 1), without that.
    if key.e * key.d % (key.p - 1) != 1 or key.e * key.d % (key.q - 1) != 1:
        return "its two exponents do not belong together"
    if key.d_p != key.d % (key.p - 1) or key.d_q != key.d % (key.q - 1):
        return "its exponents for the Chinese remainder theorem are wrong"
    if key.q_inverse >= key.p or key.q * key.q_inverse % key.p != 1:
        return "its coefficient for the Chinese remainder theorem is wrong"
    return None
