"""Tiny downloads of every public data set, in exactly the published layout, and what must be read from them.

`tables` are written as they are (bytes for pickles); `sounds` become real sounds of some milliseconds; `items` are
(path, split, labels, captions) in order; `also` are further facts as (path, field, value).
"""

from __future__ import annotations

import pickle

from layout_makers import (
    ESC50,
    IEMOCAP,
    MACS,
    PACK,
    Layout,
    audiocaps,
    audioset,
    clip,
    clotho,
    dcase2017,
    dcase2019,
    fma,
    labeled,
    meld,
    nsynth,
    said,
    tut2017,
    vocalsound,
    wavcaps,
)

__all__ = ["LAYOUTS", "Layout"]

LAYOUTS: dict[str, Layout] = {
    "audiocaps": audiocaps("dataset"),
    "audiocaps-2": audiocaps("dataset2.0"),
    "audioset": audioset(),
    "audiosetcaps": Layout(
        {"Dataset/AudioSetCaps_caption.csv": 'id,caption\n-_7Xe9vD3Hpg_4_10,"A solemn piece, slow."\n'},
        ("unbalanced/-_7Xe9vD3Hpg_4_10.mp3",),
        (said("unbalanced/-_7Xe9vD3Hpg_4_10.mp3", "train", "A solemn piece, slow."),),
    ),
    "auto-acd": Layout(
        {
            "train.csv": "youtube_id,caption\n--aE2O5G5WE,A dog barks in a hall\n",
            "test.csv": "youtube_id,caption\n--bO6XwZ9HI,Rain on a tin roof\n",
        },
        ("a/Y--aE2O5G5WE.flac", "b/--bO6XwZ9HI.wav"),
        (
            said("a/Y--aE2O5G5WE.flac", "train", "A dog barks in a hall"),
            said("b/--bO6XwZ9HI.wav", "test", "Rain on a tin roof"),
        ),
    ),
    "beijing-opera": labeled(
        "train", {"205971__ajaysm__bangu-001.wav": "bangu", "206100__ajaysm__xiaoluo-042.wav": "xiaoluo"}
    ),
    "clotho": clotho(),
    "common-voice": Layout(
        {
            f"cv-corpus-17.0-2024-03-15/en/{name}.tsv": "client_id\tpath\tsentence\tage\tgender\tlocale\n"
            f'c{name}\tcommon_voice_en_{name}.mp3\tSay "no.\tthirties\tfemale_feminine\ten\n'
            for name in ("train", "dev", "test")
        },
        tuple(f"cv-corpus-17.0-2024-03-15/en/clips/common_voice_en_{name}.mp3" for name in ("train", "dev", "test")),
        tuple(
            clip(f"cv-corpus-17.0-2024-03-15/en/clips/common_voice_en_{name}.mp3", split, "en")
            for name, split in (("train", "train"), ("dev", "valid"), ("test", "test"))
        ),
        (("cv-corpus-17.0-2024-03-15/en/clips/common_voice_en_dev.mp3", "transcript", 'Say "no.'),),
    ),
    "crema-d": Layout(
        {"VideoDemographics.csv": '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","Caucasian","-"\n'},
        ("AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1040_ITH_SAD_X.wav", "AudioWAV/1001_IEO_HAP_LO.wav"),
        (
            clip("AudioWAV/1001_DFA_ANG_XX.wav", "train", "anger"),
            clip("AudioWAV/1001_IEO_HAP_LO.wav", "train", "happy"),
            clip("AudioWAV/1040_ITH_SAD_X.wav", "train", "sad"),
        ),
        (
            ("AudioWAV/1001_IEO_HAP_LO.wav", "meta", (("level", "low"),)),
            ("AudioWAV/1040_ITH_SAD_X.wav", "transcript", "I think I have a doctor's appointment."),
        ),
    ),
    "dcase2017-task4": dcase2017(),
    "dcase2019-task4": dcase2019(),
    "esc50": Layout(
        {"meta/esc50.csv": ESC50},
        ("audio/1-100032-A-0.wav", "audio/5-9032-A-21.wav"),
        (clip("audio/1-100032-A-0.wav", "train", "dog"), clip("audio/5-9032-A-21.wav", "train", "sneezing")),
        (("audio/5-9032-A-21.wav", "fold", "5"), ("audio/5-9032-A-21.wav", "group", "freesound-9032")),
    ),
    "esc50-actions": Layout(
        {"meta/esc50.csv": ESC50},
        ("audio/1-100032-A-0.wav", "audio/5-9032-A-21.wav"),
        (clip("audio/5-9032-A-21.wav", "train", "sneezing"),),
    ),
    "fma-large": fma("fma_large", "large"),
    "fma-small": fma("fma_small", "small"),
    "freesound-pack": Layout(
        {"14157__akshay__mridangam/_readme_and_license.txt": PACK},
        ("14157__akshay__mridangam/225355__akshay__thom-b-136.wav",),
        (said("14157__akshay__mridangam/225355__akshay__thom-b-136.wav", "train", "thom-b-136"),),
        (("14157__akshay__mridangam/225355__akshay__thom-b-136.wav", "license", "Attribution Noncommercial"),),
    ),
    "fsd50k": Layout(
        {
            "FSD50K.ground_truth/dev.csv": "fname,labels,mids,split\n"
            '64760,"Electric_guitar,Music","/m/02sgy,/m/04rlf",train\n21914,Cough,/m/01b_21,val\n',
            "FSD50K.ground_truth/eval.csv": 'fname,labels,mids\n37199,"Dog,Animal","/m/0bt9lr,/m/0jbk"\n',
        },
        ("FSD50K.dev_audio/64760.wav", "FSD50K.dev_audio/21914.wav", "FSD50K.eval_audio/37199.wav"),
        (
            clip("FSD50K.dev_audio/64760.wav", "train", "Electric_guitar", "Music"),
            clip("FSD50K.dev_audio/21914.wav", "valid", "Cough"),
            clip("FSD50K.eval_audio/37199.wav", "test", "Dog", "Animal"),
        ),
    ),
    "fsdkaggle2018": Layout(
        {
            "FSDKaggle2018.meta/train_post_competition.csv": "fname,label,manually_verified,freesound_id,license\n"
            "00044347.wav,Hi-hat,0,28739,Attribution\n",
            "FSDKaggle2018.meta/test_post_competition_scoring_clips.csv": "fname,label,usage,freesound_id,license\n"
            "00326aa9.wav,Oboe,Private,355125,Attribution\n",
        },
        ("FSDKaggle2018.audio_train/00044347.wav", "FSDKaggle2018.audio_test/00326aa9.wav"),
        (
            clip("FSDKaggle2018.audio_train/00044347.wav", "train", "Hi-hat"),
            clip("FSDKaggle2018.audio_test/00326aa9.wav", "test", "Oboe"),
        ),
    ),
    "gtzan": labeled("train", {"genres/blues/blues.00000.au": "blues", "genres/hiphop/hiphop.00099.au": "hiphop"}),
    "gtzan-music-speech": labeled("test", {"music_wav/bagpipe.wav": "music", "speech_wav/allison.wav": "speech"}),
    "iemocap": Layout(
        {
            "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": IEMOCAP,
            "Session1/dialog/transcriptions/Ses01F_impro01.txt": "Ses01F_impro01_F000 [006.29-008.23]: Excuse me.\n",
        },
        ("Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav", "Session1/dialog/wav/Ses01F_impro01.wav"),
        (clip("Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav", "train", "neutral"),),
        (
            ("Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav", "transcript", "Excuse me."),
            ("Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav", "speaker", "01F"),
        ),
    ),
    "libricount": Layout(
        {"test/10_1002.json": '[{"sex": "F", "activity": [[0, 80000]], "speaker_id": 3570}]'},
        ("test/0_1000.wav", "test/10_1002.wav"),
        (clip("test/0_1000.wav", "test", "0"), clip("test/10_1002.wav", "test", "10")),
    ),
    "macs": Layout(
        {"MACS.yaml": MACS},
        ("audio/airport-barcelona-0-0-a.wav",),
        (
            clip(
                "audio/airport-barcelona-0-0-a.wav",
                "train",
                "adults_talking",
                "footsteps",
                captions=("People are talking.", "Someone walks."),
            ),
        ),
        (("audio/airport-barcelona-0-0-a.wav", "group", "airport-barcelona-0"),),
    ),
    "meld": meld(),
    "mridangam-stroke": labeled(
        "train", {"B/224030__akshaylaya__bheem-b-001.wav": "bheem", "C#/225000__akshaylaya__tham-csh-012.wav": "tham"}
    ),
    "mridangam-tonic": labeled(
        "train", {"B/224030__akshaylaya__bheem-b-001.wav": "B", "C#/225000__akshaylaya__tham-csh-012.wav": "C#"}
    ),
    "musiccaps": Layout(
        {
            "musiccaps-public.csv": "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,"
            "is_balanced_subset,is_audioset_eval\n"
            '-0Gj8-vB1q4,30,40,"/m/0140xf,/m/02cjck","[\'low quality\', \'sustained strings\']","A slow, sad song.",'
            "4,False,True\n"
        },
        ("clips/[-0Gj8-vB1q4]-[30-40].wav",),
        (
            clip(
                "clips/[-0Gj8-vB1q4]-[30-40].wav",
                "test",
                "low quality",
                "sustained strings",
                captions=("A slow, sad song.",),
            ),
        ),
    ),
    "nsynth": nsynth(),
    "ravdess": labeled(
        "train", {"Actor_01/03-01-06-01-02-01-01.wav": "fearful", "Actor_02/03-02-03-02-01-01-02.wav": "happy"}
    ),
    "sesa": Layout(
        {},
        ("train/casual_000.wav", "test/siren_017.wav"),
        (clip("train/casual_000.wav", "train", "casual"), clip("test/siren_017.wav", "test", "siren")),
    ),
    "sounddescs": Layout(
        {
            "sounddescs_data/descriptions.pkl": pickle.dumps(
                {"nhu05030045": "Cicadas at dusk.", "07033129": "Steam train.", "1": "Bell.", "2": "In no list."}
            ),
            "data/SoundDescs/train_list.txt": "nhu05030045\n",
            "data/SoundDescs/val_list.txt": "07033129\n",
            "data/SoundDescs/test_list.txt": "1",
        },
        ("audios/nhu05030045/NHU05030045.wav", "audios/07033129/07033129.wav", "audios/1/1.wav"),
        (
            said("audios/nhu05030045/NHU05030045.wav", "train", "Cicadas at dusk."),
            said("audios/07033129/07033129.wav", "valid", "Steam train."),
            said("audios/1/1.wav", "test", "Bell."),
        ),
    ),
    "speech-commands": Layout(
        {"validation_list.txt": "yes/0a7c2a8d_nohash_0.wav\n", "testing_list.txt": "bed/0c40e715_nohash_0.wav\n"},
        (
            "bed/0c40e715_nohash_0.wav",
            "bed/1bb574f9_nohash_1.wav",
            "yes/0a7c2a8d_nohash_0.wav",
            "_background_noise_/pink_noise.wav",
        ),
        (
            clip("bed/0c40e715_nohash_0.wav", "test", "bed"),
            clip("bed/1bb574f9_nohash_1.wav", "train", "bed"),
            clip("yes/0a7c2a8d_nohash_0.wav", "valid", "yes"),
        ),
        (("bed/1bb574f9_nohash_1.wav", "speaker", "1bb574f9"),),
    ),
    "tut2017": tut2017(),
    "urbansound8k": Layout(
        {
            "metadata/UrbanSound8K.csv": "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
            "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark\n"
        },
        ("audio/fold5/100032-3-0-0.wav",),
        (clip("audio/fold5/100032-3-0-0.wav", "train", "dog_bark"),),
        (("audio/fold5/100032-3-0-0.wav", "fold", "5"),),
    ),
    "vggsound": Layout(
        {"vggsound.csv": '---g-f_I2yQ,1,people marching,test\n--0PQM4-hqg,30,"waterfall burbling",train\n'},
        ("VGGSound_final/video/---g-f_I2yQ_000001.mp4", "VGGSound_final/video/--0PQM4-hqg_000030.mp4"),
        (
            clip("VGGSound_final/video/---g-f_I2yQ_000001.mp4", "test", "people marching"),
            clip("VGGSound_final/video/--0PQM4-hqg_000030.mp4", "train", "waterfall burbling"),
        ),
    ),
    "vocalsound": vocalsound(),
    "voxceleb": Layout(
        {
            "iden_split.txt": "1 id10001/1zcIwhmdeo4/00001.wav\n3 id10002/0_laIeN-Q44/00001.wav\n",
            "vox1_meta.csv": "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
            "id10001\tA.J._Buckley\tm\tIreland\tdev\n",
        },
        ("wav/id10001/1zcIwhmdeo4/00001.wav", "wav/id10002/0_laIeN-Q44/00001.wav"),
        (
            clip("wav/id10001/1zcIwhmdeo4/00001.wav", "train", "id10001"),
            clip("wav/id10002/0_laIeN-Q44/00001.wav", "test", "id10002"),
        ),
        (("wav/id10001/1zcIwhmdeo4/00001.wav", "meta", (("gender", "m"), ("name", "A.J._Buckley"))),),
    ),
    "wavcaps": wavcaps(),
}
