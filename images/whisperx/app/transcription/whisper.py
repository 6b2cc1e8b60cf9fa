# ruff: noqa: RUF001 - the punctuation of other scripts is meant
"""Whisper on CTranslate2, by faster-whisper's parts: in batches, and once more where in doubt."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from images.serving.heard import Chunk, Heard
from images.serving.recording import RATE, Samples
from images.whisperx.app.device import choose_compute_type
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.transcription import CHUNK_S, REPETITIVE, Wish
from images.whisperx.app.transcription.model_files import fetch, find_model
from images.whisperx.app.transcription.weighing import logprob, with_logprobs
from proxy_app.speech import Decoding, Logprob, Token

# OpenAI's thresholds.
_UNSURE = -1.0
_SILENT = 0.6
_BEAMS = 5
_FRAMES_PER_S = 100
"""What Whisper counts `seek` in."""
_CONTEXT = 220
"""Tokens of what precedes an answer: Whisper has 448 in all, and 30 s of speech are up to 220."""
_WEIGHED = 440
"""Tokens that are weighed together: with those before them, all that Whisper has places for."""
_LEFT_OVER = "cudaErrorInvalidDevice"
# Those that Whisper writes without a space before each word.
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})

T = TypeVar("T")


class FasterWhisper:
    """A loaded Whisper model.

    Args:
        model: faster-whisper's WhisperModel.
        name: how it is called.
        batch_size: how many chunks are heard at once.
    """

    def __init__(self, model: Any, name: str, batch_size: int) -> None:  # noqa: ANN401 - imported at run time only
        self._model = model
        self.name = name
        self.batch_size = batch_size
        self.languages: Collection[str] = frozenset(model.supported_languages)
        # The distilled ones have only learnt to write down what is said, whatever they are told.
        self.can_translate = len(self.languages) > 1 and not re.search("turbo|distil", name)
        self._tokenizers: dict[tuple[str, str], Any] = {}

    @classmethod
    def load(cls, settings: EngineSettings, device: str, threads: int) -> FasterWhisper:
        """Load what ENGINE_MODEL says, from the hub if need be.

        Args:
            settings: model, arithmetic and batch size.
            device: cpu or cuda.
            threads: how many of the CPU's to use.

        Raises:
            ModelError: the hub is out of reach.
        """
        from faster_whisper import WhisperModel  # noqa: PLC0415 - takes a second

        name, folder = fetch(find_model(settings), settings.hf_token)
        model = WhisperModel(
            folder,
            device=device,
            compute_type=choose_compute_type(settings, device),
            cpu_threads=threads,
        )
        return cls(model, name, settings.batch_size or (16 if device == "cuda" else 2))

    def detect_language(self, spots: Sequence[Samples], among: Collection[str] = ()) -> str:
        """See `Transcriber`. The probabilities of all spots are added up."""
        if not self._model.model.is_multilingual:
            return "en"
        features = self._features(spots)
        encoded = past_a_left_over_error(lambda: self._model.encode(features))
        votes: Counter[str] = Counter()
        for spot in self._model.model.detect_language(encoded):
            found = {token.strip("<|>"): probability for token, probability in spot}
            votes.update({code: found[code] for code in among or found if code in found})
        return votes.most_common(1)[0][0]

    def hear(
        self, chunks: Sequence[Chunk], samples: Sequence[Samples], language: str, wish: Wish
    ) -> list[Heard]:
        """See `Transcriber`."""
        from faster_whisper import BatchedInferencePipeline  # noqa: PLC0415 - as above

        pipeline = BatchedInferencePipeline(self._model)
        tokenizer = self._tokenizer(language, wish)
        lengths = [
            {"offset": chunk.start_s, "duration": min(CHUNK_S, len(audio) / RATE)}
            for chunk, audio in zip(chunks, samples, strict=True)
        ]
        features, options = self._features(samples), self._options(tokenizer, wish)
        found = past_a_left_over_error(
            lambda: pipeline.forward(features, tokenizer, lengths, options)
        )
        heard = []
        for chunk, parts in zip(chunks, found, strict=True):
            # More than one part where the model wrote times between the words, unasked.
            decoding = _decoding(
                chunk,
                [token for part in parts for token in part["tokens"]],
                temperature=0.0,
                avg_logprob=parts[0]["avg_logprob"],
                compression_ratio=max(part["compression_ratio"] for part in parts),
                no_speech_prob=parts[0]["no_speech_prob"],
            )
            silent = _is_silence(decoding)
            words = [] if silent else [word for part in parts for word in part["words"]]
            spelt = ((word["word"], word["start"], word["end"]) for word in words)
            heard.append(Heard(chunk, _tokens(spelt, chunk, wish.written_in(language)), decoding))
        return heard

    def is_doubtful(self, heard: Heard) -> bool:
        """See `Transcriber`."""
        found = heard.decoding
        if _is_silence(found):
            return False
        return (found.compression_ratio or 0.0) > REPETITIVE or found.avg_logprob < _UNSURE

    def hear_again(self, chunk: Chunk, samples: Samples, language: str, wish: Wish) -> Heard:
        """See `Transcriber`."""
        prompt, keywords = self._context(wish)

        def transcribe() -> list[Any]:
            found, _ = self._model.transcribe(
                samples,
                language=language,
                task=_task(wish),
                initial_prompt=prompt,
                hotwords=keywords,
                temperature=wish.temperature,
                beam_size=_BEAMS,
                compression_ratio_threshold=REPETITIVE,
                log_prob_threshold=_UNSURE,
                no_speech_threshold=_SILENT,
                condition_on_previous_text=False,
                word_timestamps=True,
            )
            return list(found)

        segments = past_a_left_over_error(transcribe)
        spelt = (
            (word.word, chunk.start_s + word.start, chunk.start_s + word.end)
            for segment in segments
            for word in segment.words
        )
        decoding = _decoding(
            chunk,
            [token for segment in segments for token in segment.tokens],
            # More than one where Whisper moved on within the chunk: the least sure is told.
            temperature=max((each.temperature for each in segments), default=wish.temperature),
            avg_logprob=min((each.avg_logprob for each in segments), default=0.0),
            compression_ratio=max((each.compression_ratio for each in segments), default=0.0),
            no_speech_prob=max((each.no_speech_prob for each in segments), default=1.0),
        )
        return Heard(chunk, _tokens(spelt, chunk, wish.written_in(language)), decoding)

    def weigh(self, heard: Heard, samples: Samples, language: str, wish: Wish) -> Heard:
        """See `Transcriber`. Each token's is that after the ones before it, without the prompt."""
        tokenizer = self._tokenizer(language, wish)
        tokens = [token for token in heard.decoding.tokens if token < tokenizer.eot]
        features, frames = self._features([samples]), math.ceil(len(samples) / RATE) * _FRAMES_PER_S

        def align(part: list[int]) -> list[float]:
            encoded = self._model.encode(features)
            (found,) = self._model.model.align(encoded, tokenizer.sot_sequence, [part], frames)
            return list(found.text_token_probs)

        found: list[Logprob] = []
        for start in range(0, len(tokens), _WEIGHED):
            part = tokens[start : start + _WEIGHED]
            spelt = map(self._model.hf_tokenizer.id_to_token, part)
            probabilities = past_a_left_over_error(partial(align, part))
            found += map(logprob, spelt, probabilities)
        return replace(heard, tokens=with_logprobs(heard.tokens, found))

    def encode(self, text: str) -> Sequence[int]:
        """See `Transcriber`."""
        encoded: list[int] = self._model.hf_tokenizer.encode(text, add_special_tokens=False).ids
        return encoded

    def _tokenizer(self, language: str, wish: Wish) -> Any:  # noqa: ANN401 - as above
        from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415 - as above

        key = language, _task(wish)
        if key not in self._tokenizers:
            multilingual = self._model.model.is_multilingual
            self._tokenizers[key] = Tokenizer(
                self._model.hf_tokenizer, multilingual, _task(wish), language
            )
        return self._tokenizers[key]

    def _context(self, wish: Wish) -> tuple[str | None, str | None]:
        """The prompt and the keywords, cut so that half of the model's memory is left to answer.

        The keywords, which come first, lose their end, and a prompt loses its beginning.
        """
        keywords = self.encode(", ".join(wish.keywords))[: _CONTEXT // 2]
        rest = _CONTEXT - len(keywords)
        prompt = self.encode(wish.prompt or "")[-rest:]
        decode = self._model.hf_tokenizer.decode
        return decode(prompt) or None, decode(keywords) or None

    def _features(self, samples: Sequence[Samples]) -> Any:  # noqa: ANN401 - as above
        from faster_whisper.audio import pad_or_trim  # noqa: PLC0415 - as above

        # The extractor adds one frame, which is no part of the sound.
        extract = self._model.feature_extractor
        return np.stack([pad_or_trim(extract(audio)[..., :-1]) for audio in samples])

    def _options(self, tokenizer: Any, wish: Wish) -> Any:  # noqa: ANN401 - as above
        from faster_whisper.transcribe import (  # noqa: PLC0415 - as above
            TranscriptionOptions,
            get_suppressed_tokens,
        )

        prompt, keywords = self._context(wish)
        return TranscriptionOptions(
            beam_size=_BEAMS,
            patience=1,
            length_penalty=1,
            repetition_penalty=1,
            no_repeat_ngram_size=0,
            temperatures=[0.0],
            # The space, as where Whisper goes on.
            initial_prompt=f" {prompt.strip()}" if prompt else None,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            without_timestamps=True,
            word_timestamps=True,
            prepend_punctuations="\"'“¿([{-",
            append_punctuations="\"'.。,，!！?？:：”)]}、",
            multilingual=False,
            max_new_tokens=None,
            hotwords=keywords,
            # A batch does nothing with these.
            best_of=1,
            log_prob_threshold=None,
            no_speech_threshold=None,
            compression_ratio_threshold=None,
            condition_on_previous_text=False,
            prompt_reset_on_temperature=0.5,
            prefix=None,
            max_initial_timestamp=1.0,
            clip_timestamps="0",
            hallucination_silence_threshold=None,
        )


def _task(wish: Wish) -> str:
    return "translate" if wish.translate else "transcribe"


def past_a_left_over_error(act: Callable[[], T]) -> T:
    """Do it, and once more where an error of an earlier call was in the way.

    Where memory runs out, CTranslate2 leaves the error in its thread's state. The next call comes
    upon it as an invalid device, which clears it: seen on an H100 with 4.8.5.
    """
    try:
        return act()
    except RuntimeError as error:
        if _LEFT_OVER not in str(error):
            raise
        return act()


def _is_silence(decoding: Decoding) -> bool:
    """Whether Whisper itself drops what was decoded."""
    return decoding.no_speech_prob > _SILENT and decoding.avg_logprob < _UNSURE


def _decoding(
    chunk: Chunk,
    tokens: Iterable[int],
    *,
    temperature: float,
    avg_logprob: float,
    compression_ratio: float,
    no_speech_prob: float,
) -> Decoding:
    # float: some are numpy's, which JSON does not know.
    return Decoding(
        seek=int(chunk.start_s * _FRAMES_PER_S),
        tokens=tuple(tokens),
        temperature=float(temperature),
        avg_logprob=float(avg_logprob),
        compression_ratio=float(compression_ratio),
        no_speech_prob=float(no_speech_prob),
    )


def _tokens(
    words: Iterable[tuple[str, float, float]], chunk: Chunk, language: str
) -> tuple[Token, ...]:
    tokens: list[Token] = []
    for text, start, end in words:
        if not text.strip():
            continue
        # Whisper often leaves out the first one's space, which here says where a word begins.
        bare = not tokens and language not in _UNSPACED
        start_s = _clip(start, chunk)
        tokens.append(
            Token(f" {text.lstrip()}" if bare else text, start_s, max(start_s, _clip(end, chunk)))
        )
    return tuple(tokens)


def _clip(seconds: float, chunk: Chunk) -> float:
    return min(round(max(chunk.start_s, float(seconds)), 3), chunk.end_s)
