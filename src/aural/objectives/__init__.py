"""Losses that take named tensors and return named scalars, one file each; `OBJECTIVES` maps exact names to classes."""

from aural.objectives.base import OBJECTIVE_AXES, OBJECTIVES, Objective, build_objective, check_needs
from aural.objectives.byol import Byol, ByolConfig
from aural.objectives.exchange import gather_with_gradient
from aural.objectives.f_divergence import FDivergence, FDivergenceConfig, divergence_bound
from aural.objectives.frame_adjusted import FrameAdjusted
from aural.objectives.frame_binary import FrameBinary, FrameConfig
from aural.objectives.frame_contrast import FrameContrast
from aural.objectives.hard_negatives import HardNegatives, HardNegativesConfig
from aural.objectives.importance_nce import ImportanceNCE, ImportanceNCEConfig
from aural.objectives.info_nce import InfoNCE, InfoNCEConfig
from aural.objectives.modular_contrast import ModularContrast
from aural.objectives.multi_positive import MultiPositive, MultiPositiveConfig
from aural.objectives.rank_n_contrast import RankNContrast, RankNContrastConfig
from aural.objectives.regress import Regress, RegressConfig
from aural.objectives.segment_contrast import SegmentContrast, SegmentContrastConfig, long_similarity
from aural.objectives.sequence_contrast import SequenceContrast, SequenceContrastConfig
from aural.objectives.sigmoid import Sigmoid, SigmoidConfig
from aural.objectives.soft_targets import SoftTargets, SoftTargetsConfig
from aural.objectives.sup_con import SupCon, SupConConfig
from aural.objectives.targets import TARGETS, TargetProducer, build_targets
from aural.objectives.temporal_focus import TemporalFocus, TemporalFocusConfig
from aural.objectives.tiled import TiledConfig, TiledInfoNCE, TiledSigmoid, tiled_info_nce, tiled_sigmoid
from aural.objectives.triplet_regression import TripletRegression, TripletRegressionConfig

__all__ = [
    "OBJECTIVES",
    "OBJECTIVE_AXES",
    "TARGETS",
    "Byol",
    "ByolConfig",
    "FDivergence",
    "FDivergenceConfig",
    "FrameAdjusted",
    "FrameBinary",
    "FrameConfig",
    "FrameContrast",
    "HardNegatives",
    "HardNegativesConfig",
    "ImportanceNCE",
    "ImportanceNCEConfig",
    "InfoNCE",
    "InfoNCEConfig",
    "ModularContrast",
    "MultiPositive",
    "MultiPositiveConfig",
    "Objective",
    "RankNContrast",
    "RankNContrastConfig",
    "Regress",
    "RegressConfig",
    "SegmentContrast",
    "SegmentContrastConfig",
    "SequenceContrast",
    "SequenceContrastConfig",
    "Sigmoid",
    "SigmoidConfig",
    "SoftTargets",
    "SoftTargetsConfig",
    "SupCon",
    "SupConConfig",
    "TargetProducer",
    "TemporalFocus",
    "TemporalFocusConfig",
    "TiledConfig",
    "TiledInfoNCE",
    "TiledSigmoid",
    "TripletRegression",
    "TripletRegressionConfig",
    "build_objective",
    "build_targets",
    "check_needs",
    "divergence_bound",
    "gather_with_gradient",
    "long_similarity",
    "tiled_info_nce",
    "tiled_sigmoid",
]
