"""The HTTP service: score, verify, enrol, identify and remove, with keys, limits, metrics, audit. No torch here."""

from vlrface.service.app import create_app as create_app
from vlrface.service.keys import create_key as create_key
from vlrface.service.keys import read_keys as read_keys
from vlrface.service.keys import revoke_key as revoke_key
from vlrface.service.reference import Reference as Reference
from vlrface.service.settings import Batching as Batching
from vlrface.service.settings import Limits as Limits
from vlrface.service.settings import Rate as Rate
from vlrface.service.settings import ServiceSettings as ServiceSettings
from vlrface.service.settings import check_exposure as check_exposure
