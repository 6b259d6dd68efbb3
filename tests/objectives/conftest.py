import torch

torch.set_num_threads(1)  # threads only get in each other's way on networks this small
