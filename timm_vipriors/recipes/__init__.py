"""The shell recipes, and comparisons of them over several seeds."""

from .catalogue import Recipe, all_recipes, find_recipe, recipes_folder

__all__ = ['Recipe', 'all_recipes', 'find_recipe', 'recipes_folder']
