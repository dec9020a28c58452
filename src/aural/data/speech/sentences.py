"""Sentences of neutral meaning in six languages, so that words say nothing about the voice that speaks them.

The numbers agree: sentence i means the same in every language. The last `HELD_OUT` sentences are for test splits.
Written for this project (CC0-1.0).
"""

from __future__ import annotations

from typing import Final

HELD_OUT: Final = 4
VOICES: Final = {"en": "en", "de": "de", "es": "es", "fr": "fr", "it": "it", "ru": "ru"}
"""Language -> its voice in espeak-ng."""
NAMES: Final = {"en": "English", "de": "German", "es": "Spanish", "fr": "French", "it": "Italian", "ru": "Russian"}
SENTENCES: Final = {
    "en": (
        "The train leaves at nine.", "The book is on the table.", "We are going to the market.",
        "The letter came this morning.", "The hotel has a blue door.", "She is reading the newspaper.",
        "The meeting is on the second floor.", "They live next to the river.", "The water is in the kitchen.",
        "He put the key in the box.", "The road goes to the village.", "The window is open.",
    ),
    "de": (
        "Der Zug fährt um neun ab.", "Das Buch liegt auf dem Tisch.", "Wir gehen auf den Markt.",
        "Der Brief kam heute Morgen.", "Das Hotel hat eine blaue Tür.", "Sie liest die Zeitung.",
        "Die Sitzung ist im zweiten Stock.", "Sie wohnen neben dem Fluss.", "Das Wasser ist in der Küche.",
        "Er legte den Schlüssel in die Kiste.", "Die Straße führt ins Dorf.", "Das Fenster ist offen.",
    ),
    "es": (
        "El tren sale a las nueve.", "El libro está sobre la mesa.", "Vamos al mercado.",
        "La carta llegó esta mañana.", "El hotel tiene una puerta azul.", "Ella lee el periódico.",
        "La reunión es en el segundo piso.", "Ellos viven junto al río.", "El agua está en la cocina.",
        "Puso la llave en la caja.", "El camino va al pueblo.", "La ventana está abierta.",
    ),
    "fr": (
        "Le train part à neuf heures.", "Le livre est sur la table.", "Nous allons au marché.",
        "La lettre est arrivée ce matin.", "L'hôtel a une porte bleue.", "Elle lit le journal.",
        "La réunion est au deuxième étage.", "Ils habitent près de la rivière.", "L'eau est dans la cuisine.",
        "Il a mis la clé dans la boîte.", "La route mène au village.", "La fenêtre est ouverte.",
    ),
    "it": (
        "Il treno parte alle nove.", "Il libro è sul tavolo.", "Andiamo al mercato.",
        "La lettera è arrivata stamattina.", "L'albergo ha una porta blu.", "Lei legge il giornale.",
        "La riunione è al secondo piano.", "Abitano vicino al fiume.", "L'acqua è in cucina.",
        "Ha messo la chiave nella scatola.", "La strada va al villaggio.", "La finestra è aperta.",
    ),
    "ru": (
        "Поезд уходит в девять.", "Книга лежит на столе.", "Мы идём на рынок.",
        "Письмо пришло сегодня утром.", "У гостиницы синяя дверь.", "Она читает газету.",
        "Собрание на втором этаже.", "Они живут у реки.", "Вода на кухне.",
        "Он положил ключ в коробку.", "Дорога ведёт в деревню.", "Окно открыто.",
    ),
}  # fmt: skip
SPEAKERS: Final = {
    "train": ("m1", "m3", "m4", "m7", "f1", "f2", "f4"),
    "test": ("m2", "m8", "f3", "f5"),
}
"""Variants of espeak-ng's voices by split; m: male, f: female."""


def sentences_of(language: str, split: str) -> tuple[str, ...]:
    """Return the sentences of a language that a split may use."""
    return SENTENCES[language][:-HELD_OUT] if split == "train" else SENTENCES[language][-HELD_OUT:]
