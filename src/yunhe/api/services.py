"""What the routes call: control's services, made once per app and handed to each route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Request

from yunhe.control.access import Access
from yunhe.control.adaptation_views import AdaptationViews
from yunhe.control.adaptations import Adaptations
from yunhe.control.deployments import Deployments
from yunhe.control.directory import Directory
from yunhe.control.events import Events
from yunhe.control.keys import Keys
from yunhe.control.live import LiveBoard
from yunhe.control.models import Models
from yunhe.control.money import Money
from yunhe.control.passwords import Passwords
from yunhe.control.people import People
from yunhe.control.pool import Pool
from yunhe.control.principals import Principals
from yunhe.control.recipe_keys import RecipeKeys
from yunhe.control.recipes import Recipes
from yunhe.control.replicas import Replicas
from yunhe.control.rollouts import Rollouts
from yunhe.control.signin import SignIn
from yunhe.control.state import ControlState
from yunhe.control.status import StatusBoard


@dataclass(frozen=True, slots=True)
class Services:
    """Control's services over one state."""

    access: Access
    adaptations: Adaptations
    adaptation_views: AdaptationViews
    deployments: Deployments
    directory: Directory
    events: Events
    keys: Keys
    live: LiveBoard
    models: Models
    money: Money
    people: People
    pool: Pool
    principals: Principals
    recipe_keys: RecipeKeys
    recipes: Recipes
    replicas: Replicas
    rollouts: Rollouts
    signin: SignIn
    status: StatusBoard

    @classmethod
    def over(cls, state: ControlState) -> Self:
        """Every service over this state."""
        principals, passwords, directory = Principals(state), Passwords(), Directory(state)
        deployments, replicas, events = Deployments(state), Replicas(state), Events(state)
        return cls(
            access=Access(state, deployments, replicas, events),
            adaptations=Adaptations(state),
            adaptation_views=AdaptationViews(state),
            deployments=deployments,
            directory=directory,
            events=events,
            keys=Keys(state, principals),
            live=LiveBoard(state),
            models=Models(state),
            money=Money(state),
            people=People(state, principals, passwords),
            pool=Pool(state),
            principals=principals,
            recipe_keys=RecipeKeys(state),
            recipes=Recipes(state),
            replicas=replicas,
            rollouts=Rollouts(state),
            signin=SignIn(state, principals, passwords, directory),
            status=StatusBoard(state),
        )


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Svc = Annotated[Services, Depends(_services)]
