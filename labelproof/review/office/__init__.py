"""Leases, accounts and sessions: what several app processes share and nobody needs to keep."""

from __future__ import annotations

from labelproof.review.office._passes import Link, LinkPurpose, Token
from labelproof.review.office._people import Account
from labelproof.review.office.accounts import Accounts
from labelproof.review.office.attempts import Attempts
from labelproof.review.office.leases import Leases
from labelproof.review.office.office import Office, office_url, open_office
from labelproof.review.office.sessions import Sessions
from labelproof.review.office.signer import Signer, Verdict

__all__ = [
    "Account",
    "Accounts",
    "Attempts",
    "Leases",
    "Link",
    "LinkPurpose",
    "Office",
    "Sessions",
    "Signer",
    "Token",
    "Verdict",
    "office_url",
    "open_office",
]
