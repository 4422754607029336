"""Galleries: enrol people, find who a face may show, remove them without a trace. No torch here."""

from vlrface.gallery.answers import Answer as Answer
from vlrface.gallery.answers import AuditEntry as AuditEntry
from vlrface.gallery.answers import Candidate as Candidate
from vlrface.gallery.answers import Duplicate as Duplicate
from vlrface.gallery.answers import Enrolment as Enrolment
from vlrface.gallery.answers import Info as Info
from vlrface.gallery.answers import NewFace as NewFace
from vlrface.gallery.answers import Person as Person
from vlrface.gallery.answers import Removal as Removal
from vlrface.gallery.answers import Rules as Rules
from vlrface.gallery.answers import StoredFace as StoredFace
from vlrface.gallery.answers import Template as Template
from vlrface.gallery.gallery import Gallery as Gallery
from vlrface.gallery.sealing import KEY_VARIABLE as KEY_VARIABLE
from vlrface.gallery.sealing import key_from_environment as key_from_environment
from vlrface.gallery.store import UnknownPersonError as UnknownPersonError
