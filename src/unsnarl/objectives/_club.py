"""CLUB: an upper bound on mutual information from samples, small enough to be minimised in training.

Cheng, Hao, Dai, Liu, Gan and Carin, "CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information", ICML 2020
(arXiv 2006.12013), eqs. 8 and 10.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError

VARIANCES = ("unit", "learned")


class CLUB(nn.Module):
    """How much x says about y, bounded from above through a learned Gaussian q(y | x) = N(f(x), s(x)^2).

        I(x, y) <= E_p(x,y) log q(y | x) - E_p(x)p(y) log q(y | x)

    It is a bound where q is the true conditional (or near enough, theorem 3.2); otherwise it is a number that training
    can play against. So the estimator has its own step: `learning_loss` is minimised in the weights of `f` with x and y
    detached, and `forward` is minimised in x and y with `f` held still. Added up and minimised together, unit variances
    make them (D_pos + D_neg) / 2, the mean squared distance of f(x_i) from y_i and from all y_j. Features then shrink, and
    those that cannot shrink are drawn towards f(x): the slope has the opposite sign of that of the bound.

    With `variance="unit"` the estimate for two correlated standard normals tends to rho^2 a dimension, with "learned" to
    rho^2 / (1 - rho^2) as long as 1 - rho^2 lies in the range of s^2. The information is -log(1 - rho^2) / 2: always below
    the second, and above the first once rho exceeds 0.89, where a unit variance is too far from the truth to bound it.
    With unit variance the estimate is just sum_d cov(f_d(x), y_d).

    Args:
        x_dim: numbers in x.
        y_dim: numbers in y.
        hidden: width of the one hidden layer (ReLU) of f, and of that of the variance.
        variance: "unit", or "learned" with log s^2 = tanh of a second network, so s^2 lies in (0.37, 2.72).

    Examples:
        >>> import torch
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> club = CLUB(1, 1, hidden=4)
        >>> for p in club.parameters():
        ...     _ = p.data.zero_()
        >>> club(x, x).item(), club.learning_loss(x, x).item()  # f = 0 knows nothing of y
        (0.0, 0.5)
    """

    def __init__(self, x_dim: int, y_dim: int, hidden: int = 512, *, variance: str = "unit"):
        super().__init__()
        for value, name in ((x_dim, "x_dim"), (y_dim, "y_dim"), (hidden, "hidden")):
            check_range(value, name, low=1, integer=True)
        check_choice(variance, VARIANCES, "variance")
        self.x_dim, self.y_dim = int(x_dim), int(y_dim)
        self.mean = nn.Sequential(nn.Linear(x_dim, hidden), nn.ReLU(), nn.Linear(hidden, y_dim))
        self.log_variance: nn.Module | None = None
        if variance == "learned":
            self.log_variance = nn.Sequential(nn.Linear(x_dim, hidden), nn.ReLU(), nn.Linear(hidden, y_dim), nn.Tanh())

    def forward(self, x: Float[Tensor, "batch x"], y: Float[Tensor, "batch y"]) -> Float[Tensor, ""]:
        """The bound in nats, mean over the batch: mean_i ( -|f(x_i) - y_i|^2 / 2 + mean_j |y_j - f(x_i)|^2 / 2 ).

        Squares are divided by s(x_i)^2 where the variance is learned. It can be negative. Its gradient also reaches the
        estimator's weights; step only the others with it.

        Raises:
            DataError: x or y have another number of columns, or lengths differ.

        Cost: O(batch * (network + y_dim)): the mean over all pairs is (f(x_i) - mean y)^2 + var y, so no pair is formed.
        """
        f = self._mean(x, y)
        center = y.mean(0)
        positive = (f - y).square()
        negative = (f - center).square() + (y - center).square().mean(0)
        gap = (negative - positive) / 2
        if self.log_variance is not None:
            gap = gap * (-self.log_variance(x)).exp()
        return gap.sum(1).mean()

    def learning_loss(self, x: Float[Tensor, "batch x"], y: Float[Tensor, "batch y"]) -> Float[Tensor, ""]:
        """What fits q(y | x) to the pairs: mean |f(x) - y|^2, twice the negative log-likelihood up to a constant.

        With a learned variance: mean of sum (f - y)^2 / s^2 + log s^2.

        Raises:
            DataError: x or y have another number of columns, or lengths differ.
        """
        error = (self._mean(x, y) - y).square()
        if self.log_variance is not None:
            log_variance = self.log_variance(x)
            error = error * (-log_variance).exp() + log_variance
        return error.sum(1).mean()

    def _mean(self, x: Tensor, y: Tensor) -> Tensor:
        if x.shape[1:] != (self.x_dim,) or y.shape[1:] != (self.y_dim,) or len(x) != len(y):
            raise DataError(
                f"x and y must have shapes (n, {self.x_dim}) and (n, {self.y_dim}), "
                f"got {tuple(x.shape)} and {tuple(y.shape)}"
            )
        return self.mean(x)
