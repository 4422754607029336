"""Any number of pictures through a model: sources, the flow, and results in parts that a killed run goes on from."""

from vlrface.bulk.flow import Row as Row
from vlrface.bulk.flow import look_at as look_at
from vlrface.bulk.items import FrameOptions as FrameOptions
from vlrface.bulk.items import Item as Item
from vlrface.bulk.items import check_sources as check_sources
from vlrface.bulk.items import list_items as list_items
from vlrface.bulk.parts import Columns as Columns
from vlrface.bulk.parts import Job as Job
from vlrface.bulk.parts import Parts as Parts
from vlrface.bulk.parts import open_parts as open_parts
from vlrface.bulk.reading import Reader as Reader
