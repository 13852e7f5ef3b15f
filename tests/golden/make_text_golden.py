"""Makes tests/golden/text: a tiny BertModel and two small WordPiece tokenizers with what they give.

Reference: transformers 4.57.6 (torch 2.11.0) and tokenizers 0.22.2. Run: python make_text_golden.py
"""
import json
import pathlib
import random

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers
from transformers import BertConfig, BertModel

FOLDER = pathlib.Path(__file__).parent / "text"

CORPUS = """a red circle moves left over a black background . two blue squares move up , slowly !
the camera doesn't move ; it's still . they've seen what we're making , haven't they ? "yes"
un cafe a la creme . naive facade . strasse . sigma odysseus . moving shapes keep their colours
a small yellow triangle starts at the top left and moves down at 1.5 pixels a frame""".split("\n")

TRICKY = [
    "\u200b", "\u00ad", "\u2028", "\u2029", "\x00", "\x0b", "\x0c", "\x85", "\u00a0",
    "\u3000", "\ufeff", "\ufffd", "\u0301", "\u0338", "\ue000", "\x1f", "\x7f", "\t", "\r",
    "\u200d", "\ufe0f", "\u180e", "\U000e0001", "\u1885", "\u1734", "\U00011938",
    "\U000111c9", "\u166d", "\u0378", "\U0001fae0",
]
WORDS = (FOLDER / "words.txt").read_text(encoding="utf-8").split()
BAD_BYTES = [0x80, 0xC0, 0xC3, 0xE2, 0xED, 0xF0, 0xF4, 0xFF, 0xBF, 0xA0, 0x90]


def train_tokenizer(normalizer, specials, vocab_size):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=60))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    alphabet = list("abcdefghijklmnopqrstuvwxyz.,!?'\"\u4eac\u03c3\u03c2\u00e9")
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=specials,
                                        initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def uncased_tokenizer():
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = train_tokenizer(normalizers.BertNormalizer(), specials, 400)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")])
    tokenizer.enable_truncation(16)  # must not be applied
    tokenizer.enable_padding(length=16)
    return tokenizer


def cased_tokenizer():
    """Everything the uncased one leaves at its default is turned the other way."""
    normalizer = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False,
                                            strip_accents=False, lowercase=True)
    tokenizer = train_tokenizer(normalizer, ["[UNK]", "[CLS]", "[SEP]"], 300)
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.add_tokens([
        AddedToken("<Left>", lstrip=True, normalized=False),
        AddedToken("<Right>", rstrip=True, normalized=False),
        AddedToken("Word", single_word=True, normalized=True),
        AddedToken("<Both>", lstrip=True, rstrip=True, normalized=True),
        AddedToken("<Both>er", normalized=True),
        AddedToken("\u00c9T\u00c9", normalized=True),
    ])
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True, normalized=False)])
    return tokenizer


def random_character(rng):
    while True:
        limit = rng.choice([0x80, 0x80, 0x600, 0x3000, 0x3000, 0x10000, 0x20000, 0x110000])
        code = rng.randrange(limit)
        if not 0xD800 <= code < 0xE000 and code != 10:
            return chr(code)


def random_piece(rng, vocab, added):
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(WORDS)
    if kind < 0.45:
        return rng.choice(vocab)
    if kind < 0.55:
        return rng.choice(TRICKY)
    if kind < 0.7:
        token = rng.choice(added)
        return rng.choice([token, token.lower(), token + "x", "x" + token, "  " + token + "\t"])
    if kind < 0.85:
        return random_character(rng)
    if kind < 0.88:
        return rng.choice("abcxyz\u00e9\u03a3") * rng.randrange(50, 115)
    return "".join(random_character(rng) for _ in range(rng.randrange(1, 8)))


def random_line(rng, vocab, added):
    count = rng.randrange(0, 9)
    pieces = [random_piece(rng, vocab, added) + rng.choice(["", " "]) for _ in range(count)]
    line = bytearray("".join(pieces).encode())
    if rng.random() < 0.2:
        for _ in range(rng.randrange(1, 5)):
            line.insert(rng.randrange(len(line) + 1), rng.choice(BAD_BYTES))
    return bytes(line).replace(b"\n", b" ")


def write_cases(tokenizer, folder, count, seed):
    """lines.txt: texts, one a line (some not UTF-8). ids.jsonl: what each gives."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rng = random.Random(seed)
    vocab = sorted(tokenizer.get_vocab())
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    lines = CORPUS_LINES + [random_line(rng, vocab, added) for _ in range(count)]
    with open(folder / "lines.txt", "wb") as texts, open(folder / "ids.jsonl", "w") as out:
        for line in lines:
            ids = tokenizer.encode(line.decode("utf-8", "replace")).ids
            texts.write(line + b"\n")
            record = {"ids": ids, "decoded": tokenizer.decode(ids)}
            out.write(json.dumps(record, separators=(",", ":")) + "\n")


CORPUS_LINES = [line.encode() for line in CORPUS]
CORPUS_LINES += [b"", b" ", b"[CLS] twice [SEP]", b"\xff", b"a\xe2\x80b"]


def make_tokenizers():
    for name, make in (("uncased", uncased_tokenizer), ("cased", cased_tokenizer)):
        folder = FOLDER / ("tokenizer_" + name)
        folder.mkdir(parents=True, exist_ok=True)
        make().save(str(folder / "tokenizer.json"), pretty=False)
        write_cases(Tokenizer.from_file(str(folder / "tokenizer.json")), folder, 300, 7)


def make_bert():
    torch.manual_seed(11)
    config = BertConfig(vocab_size=67, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                        intermediate_size=40, max_position_embeddings=12, initializer_range=0.3,
                        layer_norm_eps=1e-5, pad_token_id=0)
    model = BertModel(config).eval()
    for parameter in model.parameters():  # norms and biases too
        parameter.data += 0.1 * torch.randn_like(parameter)
    folder = FOLDER / "bert"
    model.save_pretrained(folder)
    ids = torch.randint(1, 67, (3, 9))
    mask = torch.ones_like(ids)
    for row, length in enumerate((9, 5, 2)):
        ids[row, length:] = 0
        mask[row, length:] = 0
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    cotangent = torch.randn_like(states)
    (states * cotangent).sum().backward()
    cases = {"input_ids": ids, "attention_mask": mask, "cotangent": cotangent,
             "last_hidden_state": states.detach()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            cases["grad." + name] = parameter.grad
    save_file(cases, FOLDER / "bert" / "case.safetensors")


if __name__ == "__main__":
    make_tokenizers()
    make_bert()
