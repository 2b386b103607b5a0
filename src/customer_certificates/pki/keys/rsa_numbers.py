"""Checks whether the numbers of an RSA private key are consistent."""

from .formats import RsaNumbers


def fault(key: RsaNumbers) -> str | None:
    """Returns a description of the fault in `key` (RFC 8017, 3.2), or None.

    The primality of p and q is not checked, which would take milliseconds. If one is not prime, no
    signature made with the key verifies.
    """
    if min(key.n, key.d, key.p, key.q, key.d_p, key.d_q, key.q_inverse) < 1 or key.e < 1:
        return "one of its numbers is not positive"
    # Check sizes first: the numbers may have megabits.
    if not (3 <= key.p < key.n and 3 <= key.q < key.n) or key.p * key.q != key.n:
        return "its modulus is not the product of its primes"
    if not key.p & key.q & 1:
        return "one of its primes is even"
    if key.p == key.q:
        return "its primes are equal"
    if key.d >= key.n:
        return "its private exponent is too large"
    # Both together equal e·d ≡ 1 modulo lcm(p - 1, q - 1), without computing the lcm.
    if key.e * key.d % (key.p - 1) != 1 or key.e * key.d % (key.q - 1) != 1:
        return "its two exponents do not match"
    if key.d_p != key.d % (key.p - 1) or key.d_q != key.d % (key.q - 1):
        return "its exponents for the Chinese remainder theorem are wrong"
    if key.q_inverse >= key.p or key.q * key.q_inverse % key.p != 1:
        return "its coefficient for the Chinese remainder theorem is wrong"
    return None
