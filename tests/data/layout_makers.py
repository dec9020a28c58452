"""What a tiny download is, and those that are made by a rule rather than written down (see `published_layouts`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Expected = tuple[str, str, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Layout:
    tables: dict[str, str | bytes]
    sounds: tuple[str, ...]
    items: tuple[Expected, ...]
    also: tuple[tuple[str, str, Any], ...] = ()


def clip(path: str, split: str, *labels: str, captions: tuple[str, ...] = ()) -> Expected:
    return path, split, labels, captions


def said(path: str, split: str, *captions: str) -> Expected:
    return path, split, (), captions


def labeled(split: str, labels: dict[str, str]) -> Layout:
    """A folder of sounds without tables, one label per path."""
    return Layout({}, tuple(labels), tuple(clip(path, split, label) for path, label in labels.items()))


def audiocaps(folder: str) -> Layout:
    head = "audiocap_id,youtube_id,start_time,caption\n"
    return Layout(
        {
            f"{folder}/train.csv": head + "91139,r1nicOVtvkQ,130,A woman talks nearby as water pours\n",
            f"{folder}/val.csv": head + '97151,vfY_TJq7n_U,130,"Rustling occurs, ducks quack"\n',
            f"{folder}/test.csv": head + "103549,7fmOlUlwoNg,20,Constant rattling\n103550,7fmOlUlwoNg,20,Sharp noise\n",
        },
        ("audio/r1nicOVtvkQ_130.wav", "audio/vfY_TJq7n_U_130.flac", "other/Y7fmOlUlwoNg.wav"),
        (
            said("audio/r1nicOVtvkQ_130.wav", "train", "A woman talks nearby as water pours"),
            said("audio/vfY_TJq7n_U_130.flac", "valid", "Rustling occurs, ducks quack"),
            said("other/Y7fmOlUlwoNg.wav", "test", "Constant rattling", "Sharp noise"),
        ),
    )


def clotho() -> Layout:
    head = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
    words = {"development": "train", "validation": "valid", "evaluation": "test"}
    return Layout(
        {f"clotho_captions_{w}.csv": f'{head}{w} rain.wav,a,"b, c",d,e,f\n' for w in words},
        tuple(f"{w}/{w} rain.wav" for w in words),
        tuple(said(f"{w}/{w} rain.wav", split, "a", "b, c", "d", "e", "f") for w, split in words.items()),
    )


def wavcaps() -> Layout:
    rows = {
        "AudioSet_SL/as": "Yb0RFKhbpFJA.wav",
        "BBC_Sound_Effects/bbc": "NHU05093027",
        "FreeSound/fsd": "180913",
        "SoundBible/sb": "2219",
    }
    entry = {"caption": "An airplane is landing.", "duration": 0.1, "audio": "wav_path", "download_link": "-"}
    paths = [f"Audio/{source.split('/')[0]}/{name.removesuffix('.wav')}.flac" for source, name in rows.items()]
    return Layout(
        {
            f"json_files/{source}_final.json": json.dumps({"num_captions_per_audio": 1, "data": [entry | {"id": name}]})
            for source, name in rows.items()
        },
        tuple(paths),
        tuple(said(path, "train", "An airplane is landing.") for path in paths),
    )


MACS = """files:
- filename: airport-barcelona-0-0-a.wav
  annotations:
  - {annotator_id: 1, sentence: People are talking., tags: [adults_talking, footsteps]}
  - {annotator_id: 7, sentence: Someone walks., tags: [footsteps]}
"""

AUDIOSET = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=2, num_segs=2, num_unique_labels=2, num_positive_labels=3
# YTID, start_seconds, end_seconds, positive_labels
"""


def audioset() -> Layout:
    return Layout(
        {
            "balanced_train_segments.csv": AUDIOSET + '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n',
            "eval_segments.csv": AUDIOSET + '--PJHxphWEs, 30.000, 40.000, "/m/09x0r"\n',
            "class_labels_indices.csv": 'index,mid,display_name\n0,/m/09x0r,"Speech"\n'
            '1,/m/068hy,"Domestic animals, pets"\n2,/m/07q6cd_,"Squeak"\n',
        },
        ("balanced_train/Y--4gqARaEJE.flac", "eval/--PJHxphWEs_30.000_40.000.wav"),
        (
            clip("balanced_train/Y--4gqARaEJE.flac", "train", "Domestic animals, pets", "Squeak"),
            clip("eval/--PJHxphWEs_30.000_40.000.wav", "test", "Speech"),
        ),
    )


ESC50 = """filename,fold,target,category,esc10,src_file,take
1-100032-A-0.wav,1,0,dog,True,100032,A
5-9032-A-21.wav,5,21,sneezing,False,9032,A
"""

TUT = "TUT-acoustic-scenes-2017-"


def tut2017() -> Layout:
    dev, setup = f"{TUT}development", f"{TUT}development/evaluation_setup"
    return Layout(
        {
            f"{dev}/meta.txt": "audio/b020_90_100.wav\tbeach\tb020\naudio/a12_0_10.wav\tcafe/restaurant\ta12\n",
            f"{setup}/fold1_evaluate.txt": "audio/b020_90_100.wav\tbeach\n",
            f"{setup}/fold2_evaluate.txt": "audio/a12_0_10.wav\tcafe/restaurant\n",
            f"{setup}/fold3_evaluate.txt": "",
            f"{setup}/fold4_evaluate.txt": "",
            f"{TUT}evaluation/evaluation_setup/evaluate.txt": "audio/1.wav\ttram\n",
        },
        (f"{dev}/audio/b020_90_100.wav", f"{dev}/audio/a12_0_10.wav", f"{TUT}evaluation/audio/1.wav"),
        (
            clip(f"{dev}/audio/b020_90_100.wav", "train", "beach"),
            clip(f"{dev}/audio/a12_0_10.wav", "train", "cafe/restaurant"),
            clip(f"{TUT}evaluation/audio/1.wav", "test", "tram"),
        ),
        ((f"{dev}/audio/a12_0_10.wav", "fold", "2"), (f"{dev}/audio/a12_0_10.wav", "group", "a12")),
    )


def dcase2017() -> Layout:
    release, audio = "groundtruth_release/groundtruth_", "audio_formatted_and_segmented_downloads"
    return Layout(
        {
            f"{release}weak_label_training_set.csv": "2ceUOv8A3FE_20.000_30.000.wav\t20.000\t30.000\tTrain horn\n"
            "2ceUOv8A3FE_20.000_30.000.wav\t20.000\t30.000\tAir horn, truck horn\n",
            f"{release}strong_label_testing_set.csv": "-5QrBL6MzLg_60.000_70.000.wav\t0.917\t2.029\tTrain horn\n",
            f"{release}strong_label_evaluation_set.csv": "PNaLTW50fxM_60.000_70.000.wav\t0\t0\tTruck\r\n",
        },
        (
            f"training_set_{audio}/Y2ceUOv8A3FE_20.000_30.000.wav",
            f"testing_set_{audio}/Y-5QrBL6MzLg_60.000_70.000.wav",
            "evaluation/YPNaLTW50fxM_60.000_70.000.wav",
        ),
        (
            clip(f"training_set_{audio}/Y2ceUOv8A3FE_20.000_30.000.wav", "train", "Train horn", "Air horn, truck horn"),
            clip(f"testing_set_{audio}/Y-5QrBL6MzLg_60.000_70.000.wav", "valid", "Train horn"),
            clip("evaluation/YPNaLTW50fxM_60.000_70.000.wav", "test", "Truck"),
        ),
        ((f"testing_set_{audio}/Y-5QrBL6MzLg_60.000_70.000.wav", "events", ((0.917, 2.029, "Train horn"),)),),
    )


def dcase2019() -> Layout:
    head = "filename\tonset\toffset\tevent_label\n"
    return Layout(
        {
            "metadata/train/weak.tsv": "filename\tevent_labels\nY-6p32k2WUCs_0.000_10.000.wav\tDog,Speech\n",
            "metadata/train/synthetic.tsv": head + "0.wav\t1.5\t2.5\tCat\n0.wav\t3.0\t4.0\tCat\n",
            "metadata/validation/validation.tsv": head + "Y00pbt6aJV8Y_350.000_360.000.wav\t0.000\t9.971\tFrying\n"
            "YU0Cg_t_3TdI_30.000_40.000.wav\t\t\t\n",
            "metadata/eval/public.tsv": head + "1Ro0FgMWTUE_120_130.wav\t0.000\t2.081\tSpeech\n",
        },
        (
            "audio/train/weak/Y-6p32k2WUCs_0.000_10.000.wav",
            "audio/train/unlabel_in_domain/Y--CE2f-ttEQ_30.000_40.000.wav",
            "audio/train/synthetic/0.wav",
            "audio/validation/Y00pbt6aJV8Y_350.000_360.000.wav",
            "audio/validation/YU0Cg_t_3TdI_30.000_40.000.wav",
            "audio/eval/public/1Ro0FgMWTUE_120_130.wav",
        ),
        (
            clip("audio/train/weak/Y-6p32k2WUCs_0.000_10.000.wav", "train", "Dog", "Speech"),
            clip("audio/train/synthetic/0.wav", "train", "Cat"),
            clip("audio/validation/Y00pbt6aJV8Y_350.000_360.000.wav", "valid", "Frying"),
            clip("audio/validation/YU0Cg_t_3TdI_30.000_40.000.wav", "valid"),
            clip("audio/eval/public/1Ro0FgMWTUE_120_130.wav", "test", "Speech"),
        ),
        (("audio/train/synthetic/0.wav", "events", ((1.5, 2.5, "Cat"), (3.0, 4.0, "Cat"))),),
    )


def vocalsound() -> Layout:
    mids = {"tr": ("/m/01j3sz", "laughter"), "val": ("/m/0dl9sf8", "throatclearing"), "te": ("/m/01b_21", "cough")}
    words = {"laughter": "laughter", "throatclearing": "throat clearing", "cough": "cough"}
    files = {key: f"f000{n}_0_{sound}.wav" for n, (key, (_, sound)) in enumerate(mids.items())}
    return Layout(
        {
            f"datafiles/{key}.json": json.dumps({"data": [{"wav": f"/data/sls/{files[key]}", "labels": mid}]})
            for key, (mid, _) in mids.items()
        },
        tuple(f"audio_16k/{name}" for name in files.values()),
        tuple(
            clip(f"audio_16k/{files[key]}", split, words[mids[key][1]])
            for key, split in (("tr", "train"), ("val", "valid"), ("te", "test"))
        ),
        (("audio_16k/f0001_0_throatclearing.wav", "speaker", "f0001"),),
    )


def meld() -> Layout:
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    line = '1,"Oh my God, he’s lost it.",Phoebe,sadness,negative,0,0,4,7,"00:20:57,256","00:21:00,049"\n'
    where = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    splits = {"train": "train", "dev": "valid", "test": "test"}
    return Layout(
        {f"{name}_sent_emo.csv": head + line for name in where},
        tuple(f"{folder}/dia0_utt0.mp4" for folder in where.values()),
        tuple(clip(f"{where[name]}/dia0_utt0.mp4", split, "sadness") for name, split in splits.items()),
        (("train_splits/dia0_utt0.mp4", "transcript", "Oh my God, he’s lost it."),),
    )


IEMOCAP = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
"""


def nsynth() -> Layout:
    def note(family: str) -> dict[str, Any]:
        return {
            "instrument_family_str": family,
            "instrument_str": f"{family}_acoustic_016",
            "instrument_source_str": "acoustic",
            "pitch": 57,
            "velocity": 25,
            "qualities_str": ["dark", "reverb"],
        }

    meta = (("pitch", "57"), ("velocity", "25"), ("instrument_source", "acoustic"), ("qualities", "dark, reverb"))
    families = {"train": "bass", "valid": "guitar", "test": "string"}
    paths = {part: f"nsynth-{part}/audio/{family}_acoustic_016-057-025.wav" for part, family in families.items()}
    return Layout(
        {
            f"nsynth-{part}/examples.json": json.dumps({f"{family}_acoustic_016-057-025": note(family)})
            for part, family in families.items()
        },
        tuple(paths.values()),
        tuple(clip(path, part, families[part]) for part, path in paths.items()),
        ((paths["test"], "meta", meta),),
    )


def fma(folder: str, subset: str) -> Layout:
    names = "track_id,album.title,artist.id,artist.name,set.split,set.subset,track.genre_top,track.license,track.title"
    head = [",".join(name.split(".")[n] if "." in name else "" for name in names.split(",")) for n in (0, 1)]
    rows = ["2,A,1,AWOL,training,small,Hip-Hop,CC BY,Food", f"144,A,9,Nicky,test,{subset},Rock,CC BY-NC,Street"]
    return Layout(
        {"fma_metadata/tracks.csv": "\n".join([*head, "track_id,,,,,,,,", *rows]) + "\n"},
        (f"{folder}/000/000002.mp3", f"{folder}/000/000144.mp3"),
        (
            clip(f"{folder}/000/000002.mp3", "train", "Hip-Hop"),
            clip(f"{folder}/000/000144.mp3", "test", "Rock"),
        ),
        ((f"{folder}/000/000002.mp3", "license", "CC BY"),),
    )


PACK = """Sound pack downloaded from Freesound

  * 225355__akshay__thom-b-136.wav
    * url: https://freesound.org/s/225355/
    * license: Attribution Noncommercial
"""
