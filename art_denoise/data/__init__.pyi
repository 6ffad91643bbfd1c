# The names of this package: type checkers read them here, and so does the package when it is imported.
from .imagenet import FolderImages as FolderImages
from .imagenet import find_images as find_images
from .photographs import PHOTOGRAPHS as PHOTOGRAPHS
from .photographs import Photographs as Photographs
from .photographs import load_photographs as load_photographs
from .sets import ImageSet as ImageSet
from .sets import ImageSource as ImageSource
from .sets import Split as Split
