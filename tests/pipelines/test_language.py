import pytest

from tutelage.pipelines.language import guess_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The weather is nice today, and we are going for a walk in the park.", "en"),
        ("Le temps est agréable aujourd'hui et nous allons nous promener.", "fr"),
        ("Das Wetter ist heute schön, und wir gehen im Park spazieren.", "de"),
        ("El tiempo es agradable hoy y vamos a pasear por el parque.", "es"),
        ("Сегодня хорошая погода, и мы идём гулять в парк.", "ru"),
        ("今天天气很好,我们去公园散步吧。", "zh"),
        ("今日は天気がいいので、公園へ散歩に行きましょう。", "ja"),
        ("आज मौसम अच्छा है और हम पार्क में टहलने जा रहे हैं।", "hi"),
    ],
)
def test_a_sentence_is_told(text: str, language: str) -> None:
    assert guess_language(text) == language


@pytest.mark.parametrize("text", ["", "42", "Yes.", "x = f(y) + 1", "!!! ??? ...", "https://a.b/c?d=e", "OK, no"])
def test_what_is_too_short_or_no_language_gets_no_guess(text: str) -> None:
    assert guess_language(text) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Der Hund läuft durch den Wald und singt ein Lied der Band The Who, das er sehr gern hat.", "de"),
        ("De hond loopt door het bos of de stad en zoekt naar een tak die hij kan dragen, of niet.", "nl"),
        ("Hunden løper gjennom skogen for å finne en gren som den kan bære med seg hjem.", "no"),
        ("O cachorro corre pela floresta as vezes e procura um galho que possa levar para casa.", "pt"),
    ],
)
def test_words_that_english_shares_do_not_make_a_text_english(text: str, language: str) -> None:
    assert guess_language(text) == language


def test_a_text_of_many_lines_is_read_like_one() -> None:
    assert guess_language("Les chats\n\nsont des animaux\nque nous aimons beaucoup\r\n") == "fr"
