"""Networks: backbones, the heads of the method, and foreign weights. Needs torch.

`Recognizer` is the whole network; `vlrface.models.pretrained` reads public weights.
"""

from vlrface.models.attention import PerceptibilityAttention as PerceptibilityAttention
from vlrface.models.backbone import Backbone as Backbone
from vlrface.models.backbone import InputSpec as InputSpec
from vlrface.models.iresnet import IResNet as IResNet
from vlrface.models.iresnet import iresnet as iresnet
from vlrface.models.mobilefacenet import MobileFaceNet as MobileFaceNet
from vlrface.models.recognizability import PerceptibilityRegression as PerceptibilityRegression
from vlrface.models.recognizer import Output as Output
from vlrface.models.recognizer import Recognizer as Recognizer
