"""Languages to answer in: what they are called, and what the reader is told in them instead of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

__all__ = ["Notice", "language_name", "notice_in"]

Notice = Literal["not_in_documents", "nothing_allowed", "question_blocked", "answer_blocked"]

_NAMES: Mapping[str, tuple[str, ...]] = {
    "Arabic": ("ar", "العربية"),
    "Chinese": ("zh", "中文", "汉语", "zh-cn", "zh-hans", "simplified chinese", "简体中文"),
    "Traditional Chinese": ("zh-tw", "zh-hant", "zh-hk", "繁體中文"),
    "Dutch": ("nl", "nederlands"),
    "English": ("en", "en-us", "en-gb", "英文", "英语"),
    "French": ("fr", "français"),
    "German": ("de", "deutsch"),
    "Hindi": ("hi", "हिन्दी"),
    "Italian": ("it", "italiano"),
    "Japanese": ("ja", "日本語"),
    "Korean": ("ko", "한국어"),
    "Polish": ("pl", "polski"),
    "Portuguese": ("pt", "português", "pt-br"),
    "Russian": ("ru", "русский"),
    "Spanish": ("es", "español"),
    "Turkish": ("tr", "türkçe"),
    "Ukrainian": ("uk", "українська"),
    "Vietnamese": ("vi", "tiếng việt"),
}
_BY_NAME = {name.casefold(): full for full, names in _NAMES.items() for name in (full, *names)}

_NOTICES: Mapping[str, Mapping[Notice, str]] = {
    "English": {
        "not_in_documents": "The documents do not answer this question.",
        "nothing_allowed": "No document matches the filter, so nothing was searched.",
        "question_blocked": "This question was stopped by moderation and was not answered.",
        "answer_blocked": "The answer was stopped here by moderation.",
    },
    "Chinese": {
        "not_in_documents": "文档中没有能回答这个问题的内容。",
        "nothing_allowed": "没有文档符合筛选条件，因此没有进行检索。",
        "question_blocked": "该问题未通过内容审核，因此没有作答。",
        "answer_blocked": "回答未通过内容审核，已在此停止。",
    },
    "Traditional Chinese": {
        "not_in_documents": "文件中沒有能回答這個問題的內容。",
        "nothing_allowed": "沒有文件符合篩選條件，因此沒有進行檢索。",
        "question_blocked": "該問題未通過內容審核，因此沒有作答。",
        "answer_blocked": "回答未通過內容審核，已在此停止。",
    },
    "French": {
        "not_in_documents": "Les documents ne répondent pas à cette question.",
        "nothing_allowed": "Aucun document ne correspond au filtre ; rien n'a été cherché.",
        "question_blocked": "Cette question a été arrêtée par la modération et n'a pas reçu de réponse.",
        "answer_blocked": "La réponse a été arrêtée ici par la modération.",
    },
    "German": {
        "not_in_documents": "Die Dokumente beantworten diese Frage nicht.",
        "nothing_allowed": "Kein Dokument entspricht dem Filter; es wurde nichts durchsucht.",
        "question_blocked": "Diese Frage wurde von der Moderation angehalten und nicht beantwortet.",
        "answer_blocked": "Die Antwort wurde hier von der Moderation angehalten.",
    },
    "Spanish": {
        "not_in_documents": "Los documentos no responden a esta pregunta.",
        "nothing_allowed": "Ningún documento cumple el filtro, así que no se buscó nada.",
        "question_blocked": "La moderación detuvo esta pregunta y no se respondió.",
        "answer_blocked": "La moderación detuvo la respuesta aquí.",
    },
    "Italian": {
        "not_in_documents": "I documenti non rispondono a questa domanda.",
        "nothing_allowed": "Nessun documento corrisponde al filtro, quindi non è stato cercato nulla.",
        "question_blocked": "Questa domanda è stata fermata dalla moderazione e non ha avuto risposta.",
        "answer_blocked": "La risposta è stata fermata qui dalla moderazione.",
    },
    "Portuguese": {
        "not_in_documents": "Os documentos não respondem a esta pergunta.",
        "nothing_allowed": "Nenhum documento corresponde ao filtro, por isso nada foi pesquisado.",
        "question_blocked": "Esta pergunta foi travada pela moderação e não foi respondida.",
        "answer_blocked": "A resposta foi travada aqui pela moderação.",
    },
    "Japanese": {
        "not_in_documents": "文書にはこの質問への答えがありません。",
        "nothing_allowed": "フィルターに一致する文書がないため、検索しませんでした。",
        "question_blocked": "この質問はモデレーションで止められたため、回答していません。",
        "answer_blocked": "回答はここでモデレーションにより止められました。",
    },
    "Korean": {
        "not_in_documents": "문서에는 이 질문에 대한 답이 없습니다.",
        "nothing_allowed": "필터에 맞는 문서가 없어 검색하지 않았습니다.",
        "question_blocked": "이 질문은 콘텐츠 검토에서 중단되어 답변하지 않았습니다.",
        "answer_blocked": "답변이 콘텐츠 검토로 여기에서 중단되었습니다.",
    },
    "Russian": {
        "not_in_documents": "В документах нет ответа на этот вопрос.",
        "nothing_allowed": "Ни один документ не подходит под фильтр, поиск не проводился.",
        "question_blocked": "Этот вопрос остановлен модерацией и остался без ответа.",
        "answer_blocked": "Здесь ответ остановлен модерацией.",
    },
}


def language_name(given: str) -> str:
    """Return the English name of a language that is given by name or code; one that is not known, as it is given.

    >>> language_name("fr"), language_name("中文"), language_name("Klingon"), language_name("")
    ('French', 'Chinese', 'Klingon', '')
    """
    stripped = " ".join(given.split())
    return _BY_NAME.get(stripped.casefold(), stripped)


def notice_in(language: str, which: Notice) -> str:
    """Return a notice in a language, by its English name; in English where this project has no words of it."""
    return _NOTICES.get(language, _NOTICES["English"])[which]
