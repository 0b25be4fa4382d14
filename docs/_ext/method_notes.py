"""What the page of methods says of each: its figure, what it costs, and when it wins.

P are the positions of the output, n those of the input, K the taps of the kernel, C and O the
channels of a group, G the groups, L the stride of a transposed convolution.
"""

from typing import NamedTuple


class Note(NamedTuple):
    """A figure of `jaxconv.plots.gallery` and its caption, and two paragraphs in MyST."""

    figure: str
    caption: str
    cost: str
    wins: str


NOTES = {
    "direct": Note(
        "shifted-slices", "A pass over the signal for each tap.",
        "$K$ matrix products of $P \\times C$ by $C \\times O$, $P K C O$ multiply-adds in all, and $K$ passes over the output.",
        "It is there to be read; `shifts` and `depthwise` are what became of it.",
    ),
    "toeplitz": Note(
        "band-matrix-2d", "In two dimensions the band consists of bands.",
        "$P n C O$ multiply-adds and as many numbers in memory, of which all but $P K C O$ are zeros.",
        "Never. It is there to be looked at, for small signals.",
    ),
    "im2col": Note(
        "window-matrix", "Every window copied into a row.",
        "$P K C O$ multiply-adds at the full speed of a product, after $P K C$ numbers are copied: $K$ times the input.",
        "It is there to be read: where it would win, the methods below copy less.",
    ),
    "fft": Note(
        "spectrum", "Two transforms, a product, a transform back.",
        "Transforms of $n \\log n$ for every channel of input, kernel and output, and $n C O$ complex multiply-adds whatever $K$ is.",
        "Kernels of hundreds of taps, and images convolved with images.",
    ),
    "shifts": Note(
        "shifted-slices", "All taps in one loop, or a few to a loop: XLA fuses the sum.",
        "$G P K C O$ multiply-adds in vectors, and one pass over the input (for many channels a group, or many taps with a stride, a few over the output).",
        "Groups of up to 16 channels, and first layers with few channels, where a matrix product has nothing to work on.",
    ),
    "depthwise": Note(
        "shifted-slices", "The same for each channel by itself.",
        "$G P K$ multiply-adds in vectors whose lanes are the channels, and one pass over the input.",
        "One channel a group, channels last, of up to some 30 taps: the layers of MobileNet and EfficientNet.",
    ),
    "channel_blocks": Note(
        "shifted-slices", "The same sum, of eight output channels along a row and then of the next eight.",
        "$G P K C O$ multiply-adds in vectors, whose weights stay in registers or the first cache; a copy of the input and of the output, and a pass over the output for every few input channels.",
        "Depthwise kernels of 15 to 121 taps with channels last, as in ConvNeXt; groups of up to some 40 channels, as in ResNeXt; few channels without groups.",
    ),
    "shift_weight": Note(
        "weight-gradient", "A row for each tap. Its sum over positions is kept as wide as a vector until the end.",
        "$G P K C O$ multiply-adds in vectors; the accumulators, a few thousand numbers, stay in the cache. Depthwise and channels last, the images are padded one at a time.",
        "Weight gradients of depthwise and narrow groups.",
    ),
    "group_products": Note(
        "weight-gradient", "The rows of one image and one group; the groups are a batch of such products. In two dimensions, with stride 1 down the column, the taps along a row are unfolded from the signal, and those down a column from the error.",
        "$G P K C O$ multiply-adds in batched products, after $G P (K_1 C + K_0 O)$ numbers are copied, a few images at a time, for a kernel $K_0 \\times K_1$.",
        "Weight gradients of groups, as in ResNeXt.",
    ),
    "group_split": Note(
        "groups", "Above: each group by itself.",
        "Those of $G$ convolutions without groups, and the cutting and joining of their channels.",
        "A few wide groups.",
    ),
    "group_blocks": Note(
        "groups", "Below: two groups share a product, half of whose matrix is zeros.",
        "With $b$ groups at a time $b$ times the multiply-adds, in products $b$ times as wide, and $G / b$ of them.",
        "Many narrow groups, whose own products would leave the vectors half empty.",
    ),
    "pointwise": Note(
        "pointwise", "A column of x is a position with its channels.",
        "One product, $P C O$ multiply-adds; with a stride the used positions are copied first.",
        "Kernels of size 1.",
    ),
    "onednn": Note(
        "sliding", "The window where it lies, for a few positions and sixteen channels at a time, in registers.",
        "$G P K C O$ multiply-adds at the rate of a product; the weights are brought to blocks of sixteen channels at each call, and what lies channels first is brought to channels last and back. Fewer than sixteen output channels take as long as sixteen. A weight gradient copies input and output's gradient once, and the rows that strips of them share.",
        "On Linux with x86-64, where jaxlib has it: layers with a stride, groups of eight channels and more, stems, depthwise kernels of small images, and many dense layers; weight gradients of groups, of narrow layers and of strided ones.",
    ),
    "taps": Note(
        "weight-gradient", "Each row of the left matrix is a slice of the signal: nothing is unfolded.",
        "$K$ products of $C \\times P$ by $P \\times O$, $P K C O$ multiply-adds, and a slice a tap.",
        "Weight gradients of dense layers with many channels.",
    ),
    "weight_patches": Note(
        "weight-gradient", "All rows at once, for so many positions as fit into the cache.",
        "$P K C O$ multiply-adds in one product a block, after $P K C$ numbers are copied within the cache.",
        "Weight gradients of dense layers with few channels, whose products tap by tap would be small; and those of weights that lie as PyTorch's do and are larger than input and output together, which it makes in that order.",
    ),
    "weight_lines": Note(
        "weight-gradient", "Each row of the left matrix begins one number further along the line.",
        "$P K C O$ multiply-adds in one convolution a block, which reads the line where it lies.",
        "Weight gradients of dense layers on large images, 3×3 and the like.",
    ),
    "extra_row": Note(
        "padding-2d", "A row of padding more below, and there is a row of outputs more, which is dropped.",
        "lax's own, and a row.",
        "Dense layers that XLA's first library would compute on one core.",
    ),
    "winograd2": Note(
        "winograd", "One dimension, two outputs. In two dimensions 16 multiplications make 4 outputs, not 36.",
        "$P C O \\cdot 4$ multiply-adds instead of $P C O \\cdot 9$, and the transforms of all tiles, $4 P C$ and $4 P O$ numbers.",
        "Dense 3×3 layers of small images, and their weight gradients.",
    ),
    "winograd4": Note(
        "winograd", "The same with larger tiles: 36 multiplications make 16 outputs, not 144.",
        "$P C O \\cdot 2.25$ multiply-adds instead of $P C O \\cdot 9$, and transforms with more terms, which round more.",
        "Dense layers of three taps with enough channels to pay for the transforms, and above all their weight gradients.",
    ),
    "patches": Note(
        "patches", "Windows that do not overlap are a reshape.",
        "One product, $P K C O$ multiply-adds, and at most one copy of the input.",
        "Kernel size and stride alike: patch embeddings, the downsampling of ConvNeXt and Swin; kernels as large as the input.",
    ),
    "crop": Note(
        "sliding-stride", "Zeros around the signal, drawn dashed. A tap that meets nothing else can be left out.",
        "Those of the smaller kernel.",
        "Kernels that reach beyond the image: DeepLab's large rates, 3×3 on the single pixel that a network ends with.",
    ),
    "padded": Note(
        "sliding-stride", "The dashed zeros become samples like the others.",
        "Those of the method chosen for the larger image, and a copy of it.",
        "A window with more positions than the image has, which XLA computes in plain loops: 3×3 on 2×2 pixels.",
    ),
    "phases": Note(
        "phases", "Even and odd outputs are two convolutions without zeros.",
        "$P K C O / L$ multiply-adds in each dimension, where the definition has $P K C O$, and the interleaving of the phases.",
        "Transposed convolutions with a stride, and input gradients of strided layers.",
    ),
    "space_to_batch": Note(
        "sliding-dilation", "Every window sees only even samples, or only odd ones: two signals, a kernel without gaps.",
        "Those of a convolution without dilation, and a copy of input and output.",
        "Dilated layers on images, where Winograd then takes 3×3 kernels.",
    ),
    "scatter": Note(
        "overlap-add", "Each sample sends a scaled kernel; what overlaps is added.",
        "One product of $n \\times C$ by $C \\times K O$, and $n K O$ numbers that are added where they go.",
        "Transposed convolutions with few output channels, or with a stride as long as the kernel; input gradients of layers with a weight larger than the images, which is multiplied as it lies.",
    ),
    "volume": Note(
        "volume", "Three slices, a kernel two deep: two images of two channels each.",
        "Those of a 2-D convolution of $k_D C$ channels, after the input is copied $k_D$ times.",
        "Three dimensions: XLA's own 3-D convolution is far from its 2-D one.",
    ),
    "flatten": Note(
        "volume", "Were the kernel one position wide and high, each slice could be one row.",
        "Those of the 2-D convolution, and no copy.",
        "Kernels of kD×1×1, the second half of the (2+1)-D blocks of video networks.",
    ),
    "expand": Note(
        "expand", "Above: one product of each window is not with a zero. Below: only those.",
        "$K C O$ multiply-adds, where the definition has $K^2 C O$.",
        "Input gradients of kernels that span a whole dimension, such as all electrodes of a recording.",
    ),
}  # fmt: skip
