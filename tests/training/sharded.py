"""Trains a recognizer whose weights are sharded over processes (FSDP2, gloo), saves it sharded and goes on from that.

    python tests/training/sharded.py MODEL ROWS FOLDER

MODEL is a model folder and ROWS a safetensors file of input_ids, attention_mask and labels, one batch of all processes.
FOLDER/single is what one process makes of them, FOLDER/sharded what two do that were stopped half-way and taken up by
four; FOLDER/losses.json has the losses of both. Everything that a user's loop would do is here, by torch's functions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

sys.path.insert(0, str(Path(__file__).parent))
from processes import in_processes

from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition

STEPS, STOP = 6, 3


def main(model_folder: str, rows_file: str, folder: str) -> None:
    root, rows = Path(folder), load_file(rows_file)

    def new_model() -> LlmArForActionRecognition:
        model = LlmArForActionRecognition.from_pretrained(model_folder, dtype="float32", is_trainable=True)
        with torch.no_grad():  # trained weights would leave little to learn
            torch.manual_seed(0)
            model.action_embeddings.weight.normal_(std=0.02)
        return model

    def trained_by_one(rank: int) -> None:
        model = new_model()
        losses = steps(model, optimizer_of(model), rows, range(STEPS))
        model.save_pretrained(root / "single")
        (root / "single.json").write_text(json.dumps(losses))

    def sharded(rank: int, begin: bool) -> None:
        dist.init_process_group("gloo")
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        model = new_model()
        for layer in model.causal_lm.get_decoder().layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        assert all(isinstance(weight, DTensor) for weight in model.parameters())
        layer = model.causal_lm.get_decoder().layers[0].self_attn.q_proj.base_layer.weight
        assert layer.to_local().shape[0] == layer.shape[0] // dist.get_world_size()
        optimizer = optimizer_of(model)
        if begin:
            losses = steps(model, optimizer, rows, range(STOP))
            weights, moments = get_state_dict(model, optimizer)
            assert any(isinstance(weight, DTensor) for weight in weights.values())
            dcp.save({"model": weights, "optimizer": moments}, checkpoint_id=root / "checkpoint")
        else:
            weights, moments = get_state_dict(model, optimizer)
            state = {"model": weights, "optimizer": moments}
            dcp.load(state, checkpoint_id=root / "checkpoint")
            set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
            losses = steps(model, optimizer, rows, range(STOP, STEPS))
        assert all(isinstance(weight, DTensor) for weight in model.parameters())
        whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if rank == 0:
            (root / f"{'begun' if begin else 'ended'}.json").write_text(json.dumps(losses))
            if not begin:
                model.save_pretrained(root / "sharded", state_dict=whole)
        dist.barrier()
        dist.destroy_process_group()

    in_processes(1, trained_by_one)
    in_processes(2, lambda rank: sharded(rank, begin=True))
    in_processes(4, lambda rank: sharded(rank, begin=False))


def optimizer_of(model) -> torch.optim.Optimizer:
    return torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-3)


def steps(model, optimizer, rows: dict[str, torch.Tensor], numbers: range) -> list[float]:
    """Takes steps on the same batch, of which each process has its share; the losses are those of the whole batch."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    mine = {name: values[rank::world] for name, values in rows.items()}
    words = int((rows["labels"] != -100).sum())
    losses = []
    model.train()
    for _ in numbers:
        loss = model(**mine, num_items_in_batch=words / world).loss  # gradients are averaged over the processes
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        total = loss.detach() / world
        if world > 1:
            dist.all_reduce(total)
        losses.append(total.item())
    return losses


if __name__ == "__main__":
    main(*sys.argv[1:])
