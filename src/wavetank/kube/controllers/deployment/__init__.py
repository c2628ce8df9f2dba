"""Deployments: rollouts of replica sets. Mirrors ``pkg/controller/deployment``."""

from wavetank.kube.controllers.deployment.step import DeploymentController

__all__ = ["DeploymentController"]
