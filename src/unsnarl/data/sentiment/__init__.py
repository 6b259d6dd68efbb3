"""Sentences that are read, heard and seen: a data set whose factors are known, and readers of the field's published sets."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.data.sentiment._audio import AUDIO_NAMES as AUDIO_NAMES
    from unsnarl.data.sentiment._face import VISION_NAMES as VISION_NAMES
    from unsnarl.data.sentiment._face import draw_faces as draw_faces
    from unsnarl.data.sentiment._pickles import read_pickle as read_pickle
    from unsnarl.data.sentiment._published import AlignedFeatures as AlignedFeatures
    from unsnarl.data.sentiment._published import read_aligned as read_aligned
    from unsnarl.data.sentiment._published import read_mustard as read_mustard
    from unsnarl.data.sentiment._sentences import RatedSentences as RatedSentences
    from unsnarl.data.sentiment._sentences import rated_sentences as rated_sentences
    from unsnarl.data.sentiment._speech import Speaker as Speaker
    from unsnarl.data.sentiment._trisent import build_trisent as build_trisent
    from unsnarl.data.sentiment._trisent import trisent as trisent
    from unsnarl.data.sentiment._utterances import Utterances as Utterances

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AUDIO_NAMES": "._audio",
        "AlignedFeatures": "._published",
        "RatedSentences": "._sentences",
        "Speaker": "._speech",
        "Utterances": "._utterances",
        "VISION_NAMES": "._face",
        "build_trisent": "._trisent",
        "draw_faces": "._face",
        "rated_sentences": "._sentences",
        "read_aligned": "._published",
        "read_mustard": "._published",
        "read_pickle": "._pickles",
        "trisent": "._trisent",
    },
)
