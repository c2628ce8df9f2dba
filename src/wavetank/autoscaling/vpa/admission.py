"""Admission: pods of a VPA's target get the recommended resources when they are made.

Mirrors ``pkg/admission-controller``, as a step of the API server's own chain instead of a webhook.
"""

from __future__ import annotations

from wavetank.autoscaling.hpa.readings import scale_resource
from wavetank.autoscaling.vpa.admit import admit
from wavetank.autoscaling.vpa.kinds import VPAS
from wavetank.autoscaling.vpa.update import update_mode
from wavetank.kube.api import Api
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.resources import DAEMONSETS
from wavetank.kube.selectors import from_object

__all__ = ["VpaAdmission"]


class VpaAdmission:
    """To be put among the API server's admissions."""

    def __call__(self, api: Api, resource: Resource, new: Object, old: Object | None) -> None:
        if resource.plural != "pods" or resource.group or old is not None:
            return
        vpa = self._matching(api, new)
        if vpa is not None:
            new.update(admit(new, vpa))

    def _matching(self, api: Api, pod: Object) -> Object | None:
        """The VPA in charge of the pod: of several the oldest, as upstream."""
        namespace = pod["metadata"].get("namespace")
        found = [
            vpa
            for vpa in api.list(api.select(VPAS, namespace)).items
            if update_mode(vpa) != "Off" and self._picks(api, vpa, pod)
        ]
        return min(found, key=_age, default=None)

    def _picks(self, api: Api, vpa: Object, pod: Object) -> bool:
        reference = dict((vpa.get("spec") or {}).get("targetRef") or {})
        namespace, labels = pod["metadata"].get("namespace"), pod["metadata"].get("labels")
        try:
            daemons = reference.get("kind") == "DaemonSet"
            resource = DAEMONSETS if daemons else scale_resource(reference)
            target = api.stored(resource, namespace, str(reference.get("name", "")))
        except (LookupError, ApiError):
            return False
        return from_object((target.get("spec") or {}).get("selector")).matches(labels)


def _age(vpa: Object) -> tuple[str, str]:
    return str(vpa["metadata"].get("creationTimestamp", "")), str(vpa["metadata"]["name"])
