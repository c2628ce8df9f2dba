"""Go's text/template for files that people already have: alert annotations and notification templates.

Follows the language of https://pkg.go.dev/text/template. Functions come from whoever renders; values with
methods are objects with a ``go_methods`` table.
"""

from wavetank.gotemplate.template import SafeText, Template, TemplateError, definitions_of

__all__ = ["SafeText", "Template", "TemplateError", "definitions_of"]
