"""The bare route: what Falcon and the server cost when nothing is done."""

import falcon


class UserResource:
    def on_get(self, req: falcon.Request, resp: falcon.Response, user_id: int) -> None:
        resp.media = {"id": user_id}


app = falcon.App()
app.add_route("/users/{user_id:int}", UserResource())
