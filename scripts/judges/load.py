"""What the judge scripts share: quiet imports, token ids from JSON, models in float32 with eager attention."""
import json
import os
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.filterwarnings("ignore")

import torch  # noqa: E402
import transformers  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)


def read_sequences(path):
    """[[id, ...], ...] from a JSON file."""
    sequences = json.loads(Path(path).read_text())
    if not sequences or not all(isinstance(s, list) and s for s in sequences):
        raise SystemExit(f"{path}: wanted a list of non-empty lists of token ids")
    return [torch.tensor([s]) for s in sequences]


def load_model(folder, gguf_file=None):
    """Any causal model folder (or a GGUF file inside it), float32, eager attention, evaluation mode."""
    options = {"gguf_file": gguf_file} if gguf_file else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", **options)
    return model.eval()


def logits_by_sequence(model, sequences):
    """{"logits.<i>": float32 [T, V]} for each sequence, run alone."""
    with torch.no_grad():
        return {f"logits.{i}": model(input_ids=ids, use_cache=False).logits[0].float().contiguous()
                for i, ids in enumerate(sequences)}
